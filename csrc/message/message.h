/* message.h: what the files of this room share about messages. */
#ifndef WINIPC_MESSAGE_MESSAGE_H
#define WINIPC_MESSAGE_MESSAGE_H

#include "queue.h"
#include "base/core.h"

/* WPARAM, LPARAM and LRESULT from Python: any int as wide as a pointer, in
 * its signed and in its unsigned spelling. O& converter. */
int wi_param_converter(PyObject *value, void *out); /* uint64_t */

/* A window, as an int or an object with __index__. O& converter. */
int wi_hwnd_converter(PyObject *value, void *out); /* HWND */
PyObject *wi_hwnd_to_python(HWND hwnd);

/* Wait for one handle as wi_wait does, and let messages that other threads
 * send to windows of this thread in meanwhile: a peer that sends back before
 * it answers would otherwise wait for us while we wait for it. */
DWORD wi_wait_serving(HANDLE handle, uint64_t timeout_ms);

/* A window property of a CopyDataWindow: the largest message that it takes,
 * or 1 if it takes none with data. */
#define WI_LIMIT_PROPERTY L"winipc.MaxMessage"

/* A Message of type (the state's message_type or a subclass of it). Takes the
 * reference in any case; NULL with an exception. */
PyObject *wi_message_object_new(PyTypeObject *type, wi_message *message);

#endif
