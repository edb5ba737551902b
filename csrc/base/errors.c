/* errors.c: Win32 error codes into Python exceptions.
 *
 * One helper raises everything, so that each OSError names the object and
 * the Win32 call that failed. The caller holds the GIL. */
#include "core.h"

PyObject *
wi_raise(DWORD err, const char *api, PyObject *name)
{
    return wi_raise_as(PyExc_OSError, err, api, name);
}

PyObject *
wi_raise_as(PyObject *cls, DWORD err, const char *api, PyObject *name)
{
    PyObject *call = PyUnicode_FromString(api);
    if (call != NULL) {
        /* 0 would make CPython read the thread's last error again, which
         * taking the GIL back may have changed. */
        PyErr_SetExcFromWindowsErrWithFilenameObjects(
            cls, (int)(err ? err : ERROR_INTERNAL_ERROR), name, call);
        Py_DECREF(call);
    }
    return NULL;
}

PyObject *
wi_raise_format_as(PyObject *cls, DWORD err, const char *api,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyObject *label = PyUnicode_FromFormatV(format, args);
    va_end(args);
    /* Windows' own text says only that a parameter is wrong, or a handle. */
    const char *text =
        cls == PyExc_ProcessLookupError     ? "There is no such process"
        : cls == PyExc_ConnectionResetError ? "It ended before it answered"
                                            : NULL;
    if (label != NULL && text != NULL) {
        wi_raise_text(cls, err, text, api, label);
    }
    else if (label != NULL) {
        wi_raise_as(cls, err, api, label);
    }
    Py_XDECREF(label);
    return NULL;
}

PyObject *
wi_raise_text(PyObject *cls, DWORD err, const char *text, const char *api,
              PyObject *name)
{
    /* OSError sets errno from winerror, whatever is passed for it. */
    PyObject *error =
        PyObject_CallFunction(cls, "isOis", 0, text, name, (int)err, api);
    if (error != NULL) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

void
wi_error_attribute(const char *name, PyObject *attribute)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL && PyObject_SetAttrString(value, name, attribute) < 0) {
        PyErr_Clear(); /* the error itself matters more */
    }
    PyErr_Restore(type, value, traceback);
}

/* Add a note to the error that is set. */
static void
error_note(const char *note)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (value != NULL) {
        PyObject *done = PyObject_CallMethod(value, "add_note", "s", note);
        if (done == NULL) {
            PyErr_Clear(); /* the error itself matters more */
        }
        Py_XDECREF(done);
    }
    PyErr_Restore(type, value, traceback);
}

PyObject *
wi_raise_abandoned(wi_state *state, const char *api, PyObject *name,
                   PyObject *lock)
{
    wi_raise_text(state->AbandonedError, ERROR_ABANDONED_WAIT_0,
                  "the process or thread that held it ended without "
                  "releasing it: what it protects may be half written",
                  api, name);
    if (lock != Py_None) {
        error_note("hint: lock(repair=...) mends it");
    }
    wi_error_attribute("mutex", lock);
    return NULL;
}

int
wi_raise_about(void *self, PyObject *cls, const char *text)
{
    PyObject *name = PyType_GetName(Py_TYPE(self));
    if (name != NULL) {
        PyErr_Format(cls, "%U %s", name, text);
        Py_DECREF(name);
    }
    return -1;
}

PyObject *
wi_raise_timeout(const char *text, const char *api, PyObject *name)
{
    return wi_raise_text(PyExc_TimeoutError, ERROR_TIMEOUT, text, api, name);
}
