/* token.c: who is behind a process id, and who owns a mapping.
 *
 *     >>> _core._process_image(os.getpid())
 *     ('C:\\Python\\python.exe', 1764405331.25)
 *     >>> _core._process_token(os.getpid())   # (is elevated, integrity level)
 *     (False, 8192)
 *     >>> _core._mapping_is_ours("PageantRequest00000001")
 *     True
 *
 * Nothing is owned here; any thread may call it. What may block runs without
 * the GIL. Wraps OpenProcessToken, GetTokenInformation, GetProcessTimes and
 * GetKernelObjectSecurity. */
#include "base/core.h"
#include "base/handles.h"

PyDoc_STRVAR(process_image_doc,
             "_process_image($module, pid, /)\n--\n\n"
             "(path of the executable, creation time in seconds since 1970).");

static PyObject *
process_image(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid, err, length;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process = wi_open_process(PROCESS_QUERY_LIMITED_INFORMATION, pid);
    if (process == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    FILETIME created, exited, kernel, user;
    wchar_t *path = NULL;
    WI_CALL(
        err, if (GetProcessTimes(process, &created, &exited, &kernel, &user)) {
            path = wi_image_path(process, &length);
        });
    CloseHandle(process);
    if (path == NULL) {
        return wi_raise_format(err, "QueryFullProcessImageNameW", "pid %lu",
                               (unsigned long)pid);
    }
    PyObject *image = PyUnicode_FromWideChar(path, (Py_ssize_t)length);
    wi_heap_free(path);
    if (image != NULL) {
        int64_t since_1970 =
            (int64_t)(wi_filetime(created) - 116444736000000000ULL);
        /* N: the tuple takes the reference. */
        result = Py_BuildValue("(Nd)", image, (double)since_1970 / 1e7);
    }
    return result;
}

PyDoc_STRVAR(process_token_doc,
             "_process_token($module, pid, /)\n--\n\n"
             "(is elevated, integrity level) of a process; 0x2000 is medium.");

static PyObject *
process_token(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid, err, level = 0;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process = wi_open_process(PROCESS_QUERY_LIMITED_INFORMATION, pid);
    if (process == NULL) {
        return NULL;
    }
    HANDLE token = NULL;
    const char *api = "OpenProcessToken";
    TOKEN_ELEVATION *elevation = NULL;
    TOKEN_MANDATORY_LABEL *integrity = NULL;
    Py_BEGIN_ALLOW_THREADS
    if (OpenProcessToken(process, TOKEN_QUERY, &token)) {
        api = "GetTokenInformation";
        elevation = wi_token_information(token, TokenElevation);
    }
    if (elevation != NULL) {
        integrity = wi_token_information(token, TokenIntegrityLevel);
    }
    err = GetLastError();
    if (token != NULL) {
        CloseHandle(token);
    }
    CloseHandle(process);
    Py_END_ALLOW_THREADS
    BOOL known = integrity != NULL;
    BOOL elevated = known && elevation->TokenIsElevated;
    if (known) {
        PSID sid = integrity->Label.Sid;
        level = *GetSidSubAuthority(sid, *GetSidSubAuthorityCount(sid) - 1U);
    }
    wi_heap_free(elevation);
    wi_heap_free(integrity);
    if (!known) {
        return wi_raise_format(err, api, "pid %lu", (unsigned long)pid);
    }
    return Py_BuildValue("Ok", elevated ? Py_True : Py_False,
                         (unsigned long)level);
}

PyDoc_STRVAR(mapping_is_ours_doc,
             "_mapping_is_ours($module, name, /)\n--\n\n"
             "Whether this user owns the mapping with this name.");

static PyObject *
mapping_is_ours(PyObject *Py_UNUSED(module), PyObject *arg)
{
    union {
        SECURITY_DESCRIPTOR descriptor;
        BYTE room[1024];
    } security;
    wchar_t *name;
    if (wi_wide_name(arg, &name) < 0) {
        return NULL;
    }
    const char *api = "OpenFileMappingW";
    TOKEN_USER *user = NULL;
    PSID owner = NULL;
    BOOL defaulted, ours = FALSE, ok = FALSE;
    DWORD size, err;
    Py_BEGIN_ALLOW_THREADS
    HANDLE mapping = OpenFileMappingW(READ_CONTROL, FALSE, name);
    if (mapping != NULL) {
        api = "GetKernelObjectSecurity";
        ok = GetKernelObjectSecurity(mapping, OWNER_SECURITY_INFORMATION,
                                     &security.descriptor, sizeof(security),
                                     &size) &&
             GetSecurityDescriptorOwner(&security.descriptor, &owner,
                                        &defaulted);
    }
    if (ok) {
        api = "GetTokenInformation";
        user = wi_current_user();
    }
    err = GetLastError();
    if (user != NULL && owner != NULL) {
        ours = EqualSid(owner, user->User.Sid);
    }
    if (mapping != NULL) {
        CloseHandle(mapping);
    }
    Py_END_ALLOW_THREADS
    PyMem_Free(name);
    ok = user != NULL;
    wi_heap_free(user);
    return ok ? PyBool_FromLong(ours) : wi_raise(err, api, arg);
}

static PyMethodDef token_functions[] = {
    {"_process_image", process_image, METH_O, process_image_doc},
    {"_process_token", process_token, METH_O, process_token_doc},
    {"_mapping_is_ours", mapping_is_ours, METH_O, mapping_is_ours_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_token_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, token_functions);
}
