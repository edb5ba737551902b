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

/* A window property of a CopyDataWindow: the largest message that it takes,
 * or 1 if it takes none with data. */
#define WI_LIMIT_PROPERTY L"winipc.MaxMessage"

/* A Message of type (the state's message_type or a subclass of it). Takes the
 * reference in any case; NULL with an exception. */
PyObject *wi_message_object_new(PyTypeObject *type, wi_message *message);

#endif
