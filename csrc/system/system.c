/* system.c: whether this is Wine, files with a security descriptor, consoles.
 *
 *     _core._wine_version()                   # "8.0", or None on Windows
 *     _core._create_file(path, size, sddl)    # a handle
 *     _core._console_mode(handle)             # 7, or None if it is no console
 *
 * Wraps Wine's wine_get_version, CreateFileW, GetConsoleMode, SetConsoleMode
 * and SetConsoleScreenBufferSize. Owner: the caller owns the handles. Thread:
 * any. GIL: given up while a file is made. */
#include "base/core.h"

/* ------------------------------------------------------------------- Wine */

PyDoc_STRVAR(system_wine_version_doc,
             "_wine_version($module, /)\n--\n\n"
             "The version of Wine, or None on Windows.");

static PyObject *
system_wine_version(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(noargs))
{
    typedef const char *(__cdecl * version_fn)(void);
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    version_fn version = NULL;
    if (ntdll != NULL) {
        version = (version_fn)(void (*)(void))GetProcAddress(
            ntdll, "wine_get_version");
    }
    if (version == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(version());
}

/* ---------------------------------------------------------- private files */

PyDoc_STRVAR(
    system_new_file_doc,
    "_create_file($module, path, size, security, /)\n--\n\n"
    "Create a file of `size` zero bytes with this SDDL; return its handle.\n\n"
    "Windows deletes the file when its last handle is closed.\n\n"
    "Raises:\n"
    "    FileExistsError: There is such a file (winerror 80,\n"
    "        ERROR_FILE_EXISTS).\n\n"
    "Win32: CreateFileW, SetEndOfFile.");

static PyObject *
system_new_file(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *path;
    PyObject *sddl;
    uint64_t size;
    wi_security security;
    LARGE_INTEGER end;
    HANDLE file = INVALID_HANDLE_VALUE;
    DWORD err;
    BOOL ok = TRUE;
    if (!PyArg_ParseTuple(args, "UO&U:_create_file", &path, wi_u64_converter,
                          &size, &sddl)) {
        return NULL;
    }
    if (size > INT64_MAX) {
        PyErr_SetString(PyExc_OverflowError, "size is too large for a file");
        return NULL;
    }
    wchar_t *wide = PyUnicode_AsWideCharString(path, NULL);
    if (wide == NULL) {
        return NULL;
    }
    if (wi_security_init(&security, sddl) < 0) {
        PyMem_Free(wide);
        return NULL;
    }
    SECURITY_ATTRIBUTES *attributes = wi_security_attributes(&security);
    WI_CALL(err, file = CreateFileW(
                     wide, GENERIC_READ | GENERIC_WRITE | DELETE,
                     FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                     attributes, CREATE_NEW,
                     FILE_ATTRIBUTE_NORMAL | FILE_FLAG_DELETE_ON_CLOSE, NULL));
    if (file == INVALID_HANDLE_VALUE) {
        wi_raise(err, "CreateFileW", path);
        goto done;
    }
    end.QuadPart = (LONGLONG)size;
    WI_CALL(err, ok = SetFilePointerEx(file, end, NULL, FILE_BEGIN) &&
                      SetEndOfFile(file));
    if (!ok) {
        CloseHandle(file);
        file = INVALID_HANDLE_VALUE;
        wi_raise(err, "SetEndOfFile", path);
    }
done:
    wi_security_clear(&security);
    PyMem_Free(wide);
    return file == INVALID_HANDLE_VALUE ? NULL : PyLong_FromVoidPtr(file);
}

/* --------------------------------------------------------------- consoles */

static PyObject *
system_console_mode(PyObject *Py_UNUSED(module), PyObject *value)
{
    HANDLE console;
    DWORD mode;
    if (!wi_handle_converter(value, &console)) {
        return NULL;
    }
    if (!GetConsoleMode(console, &mode)) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(mode);
}

static PyObject *
system_set_console_mode(PyObject *Py_UNUSED(module), PyObject *args)
{
    HANDLE console;
    DWORD mode;
    if (!PyArg_ParseTuple(args, "O&O&:_set_console_mode", wi_handle_converter,
                          &console, wi_u32_converter, &mode)) {
        return NULL;
    }
    return PyBool_FromLong(SetConsoleMode(console, mode));
}

static PyObject *
system_set_console_size(PyObject *Py_UNUSED(module), PyObject *args)
{
    HANDLE console;
    COORD size;
    if (!PyArg_ParseTuple(args, "O&hh:_set_console_size", wi_handle_converter,
                          &console, &size.X, &size.Y)) {
        return NULL;
    }
    return PyBool_FromLong(SetConsoleScreenBufferSize(console, size));
}

static PyMethodDef system_functions[] = {
    {"_wine_version", system_wine_version, METH_NOARGS,
     system_wine_version_doc},
    {"_create_file", system_new_file, METH_VARARGS, system_new_file_doc},
    {"_console_mode", system_console_mode, METH_O,
     PyDoc_STR("_console_mode($module, handle, /)\n--\n\n"
               "Its mode, or None if it is no console. Win32:\n"
               "GetConsoleMode.")},
    {"_set_console_mode", system_set_console_mode, METH_VARARGS,
     PyDoc_STR("_set_console_mode($module, handle, mode, /)\n--\n\n"
               "True if it was set. Win32: SetConsoleMode.")},
    {"_set_console_size", system_set_console_size, METH_VARARGS,
     PyDoc_STR("_set_console_size($module, handle, columns, rows, /)\n--\n\n"
               "True if it was set. Win32: SetConsoleScreenBufferSize.")},
    {NULL, NULL, 0, NULL},
};

int
wi_system_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, system_functions);
}
