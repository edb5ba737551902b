/* system.c: what this system is, and new files with rights of their own.
 *
 * Wraps wine_get_version (where there is one), GetTokenInformation for the
 * privileges, and CreateFileW with a security descriptor. Nothing is owned
 * here: a file's handle belongs to the caller. Any thread may call it. */
#include "base/core.h"

/* ------------------------------------------------------------------- Wine */

PyDoc_STRVAR(system_wine_version_doc,
             "_wine_version($module, /)\n--\n\n"
             "The version of Wine, or None on Windows.");

static PyObject *
system_wine_version(PyObject *module, PyObject *noargs)
{
    typedef const char *(__cdecl * version_fn)(void);
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    version_fn version = NULL;
    WI_UNUSED(module);
    WI_UNUSED(noargs);
    if (ntdll != NULL) {
        version = (version_fn)(void (*)(void))GetProcAddress(
            ntdll, "wine_get_version");
    }
    if (version == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(version());
}

/* -------------------------------------------------------------- the token */

/* The privileges of this process; LocalFree them. NULL with an exception. */
static TOKEN_PRIVILEGES *
system_held_privileges(void)
{
    HANDLE token = NULL;
    DWORD size = 0;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        wi_raise(GetLastError(), "OpenProcessToken", Py_None);
        return NULL;
    }
    GetTokenInformation(token, TokenPrivileges, NULL, 0, &size);
    TOKEN_PRIVILEGES *held = LocalAlloc(LMEM_FIXED, size);
    BOOL ok = held != NULL &&
              GetTokenInformation(token, TokenPrivileges, held, size, &size);
    DWORD err = GetLastError();
    CloseHandle(token);
    if (!ok) {
        LocalFree(held);
        wi_raise(err, "GetTokenInformation", Py_None);
        return NULL;
    }
    return held;
}

PyDoc_STRVAR(system_privileges_doc,
             "_privileges($module, /)\n--\n\n"
             "List of (name, enabled): the privileges of this process.");

static PyObject *
system_privileges(PyObject *module, PyObject *noargs)
{
    WI_UNUSED(module);
    WI_UNUSED(noargs);
    TOKEN_PRIVILEGES *held = system_held_privileges();
    if (held == NULL) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (DWORD i = 0; list != NULL && i < held->PrivilegeCount; i++) {
        wchar_t name[64];
        DWORD length = Py_ARRAY_LENGTH(name);
        if (!LookupPrivilegeNameW(NULL, &held->Privileges[i].Luid, name,
                                  &length)) {
            continue; /* this system knows no name for it */
        }
        DWORD on = held->Privileges[i].Attributes & SE_PRIVILEGE_ENABLED;
        PyObject *text = PyUnicode_FromWideChar(name, (Py_ssize_t)length);
        PyObject *row =
            text ? Py_BuildValue("(NO)", text, on ? Py_True : Py_False) : NULL;
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    LocalFree(held);
    return list;
}

/* ---------------------------------------------------------- private files */

PyDoc_STRVAR(
    system_new_file_doc,
    "_create_file($module, path, size, security, /)\n--\n\n"
    "Make a file of `size` zero bytes with this SDDL from the start,\n"
    "which goes when its last handle is closed; return a handle.\n"
    "Raises FileExistsError (winerror 80) when there is one.");

static PyObject *
system_new_file(PyObject *module, PyObject *args)
{
    PyObject *path;
    PyObject *sddl;
    uint64_t size;
    wi_security security;
    LARGE_INTEGER end;
    HANDLE file = INVALID_HANDLE_VALUE;
    DWORD err;
    BOOL ok = TRUE;
    WI_UNUSED(module);
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

static PyMethodDef system_functions[] = {
    {"_wine_version", system_wine_version, METH_NOARGS,
     system_wine_version_doc},
    {"_privileges", system_privileges, METH_NOARGS, system_privileges_doc},
    {"_create_file", system_new_file, METH_VARARGS, system_new_file_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_system_init(PyObject *module, wi_state *state)
{
    WI_UNUSED(state);
    return PyModule_AddFunctions(module, system_functions);
}
