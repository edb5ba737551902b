/* message.h: what the files in this folder share about messages. */
#ifndef WINIPC_MESSAGE_MESSAGE_H
#define WINIPC_MESSAGE_MESSAGE_H

#include "queue.h"
#include "base/core.h"

/* WPARAM, LPARAM and LRESULT from Python: any int of the width of a pointer,
 * signed or unsigned. O& converter. */
int wi_param_converter(PyObject *value, void *out); /* uint64_t */

/* A window, as an int or an object with __index__. O& converter. */
int wi_hwnd_converter(PyObject *value, void *out); /* HWND */
PyObject *wi_hwnd_to_python(HWND hwnd);

/* A window property of a CopyDataWindow: its max_message in bytes, or 1 if
 * that is 0. */
#define WI_LIMIT_PROPERTY L"winipc.MaxMessage"

/* A Message of this type, which is the state's message_type or a subclass of
 * it. It takes over the reference to message, also on failure. */
PyObject *wi_message_object_new(PyTypeObject *type, wi_message *message);

#endif
