/* token.c: facts about a process and its token, and privileges of this
 * process.
 *
 *     _core._process_image(pid)    # (path, when it was created)
 *     _core._process_token(pid)    # (is elevated, integrity level, user)
 *     _core._process_facts(pid)    # (exit code, session, is protected)
 *     _core._mapping_is_ours(name) # whether this user owns it
 *     _core._set_privilege("SeDebugPrivilege", True)
 *
 * Owner: nothing here is owned. Thread: any. GIL: given up to find the path of
 * an executable and to open a mapping; kept for all else. */
#include "base/core.h"
#include "base/handles.h"

#include <sddl.h>

/* 100 ns from 1601 to 1970. */
#define TOKEN_UNIX_EPOCH UINT64_C(116444736000000000)

/* ------------------------------------------------------------- a token */

/* (is elevated, integrity level, user as a SID). NULL with an exception, or
 * with the last error. */
static PyObject *
token_describe(HANDLE token)
{
    PyObject *result = NULL;
    wchar_t *user = NULL;
    TOKEN_ELEVATION *elevation = wi_token_information(token, TokenElevation);
    TOKEN_MANDATORY_LABEL *label =
        elevation ? wi_token_information(token, TokenIntegrityLevel) : NULL;
    TOKEN_USER *owner = label ? wi_token_information(token, TokenUser) : NULL;
    if (owner != NULL && ConvertSidToStringSidW(owner->User.Sid, &user)) {
        PSID sid = label->Label.Sid;
        DWORD count = *GetSidSubAuthorityCount(sid);
        DWORD level = count == 0 ? 0 : *GetSidSubAuthority(sid, count - 1);
        result = Py_BuildValue("(Oku)",
                               elevation->TokenIsElevated ? Py_True : Py_False,
                               level, user);
    }
    DWORD err = GetLastError();
    LocalFree(user);
    wi_heap_free(owner);
    wi_heap_free(label);
    wi_heap_free(elevation);
    SetLastError(err);
    return result;
}

static PyObject *
token_process_token(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid;
    HANDLE token;
    PyObject *result = NULL;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process = wi_open_process(PROCESS_QUERY_LIMITED_INFORMATION, pid);
    if (process == NULL) {
        return NULL;
    }
    const char *api = "OpenProcessToken";
    if (OpenProcessToken(process, TOKEN_QUERY, &token)) {
        api = "GetTokenInformation";
        result = token_describe(token);
        DWORD err = GetLastError();
        CloseHandle(token);
        SetLastError(err);
    }
    DWORD err = GetLastError();
    CloseHandle(process);
    if (result == NULL && !PyErr_Occurred()) {
        wi_raise_format(err, api, "pid %lu", pid);
    }
    return result;
}

/* ----------------------------------------------------------- a process */

static PyObject *
token_process_image(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid, length, err = 0;
    FILETIME created, exited, kernel, user;
    wchar_t *path = NULL;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process = wi_open_process(PROCESS_QUERY_LIMITED_INFORMATION, pid);
    if (process == NULL) {
        return NULL;
    }
    const char *api = "GetProcessTimes";
    if (GetProcessTimes(process, &created, &exited, &kernel, &user)) {
        api = "QueryFullProcessImageNameW";
        WI_CALL(err, path = wi_image_path(process, &length));
    }
    else {
        err = GetLastError();
    }
    CloseHandle(process);
    if (path == NULL) {
        return wi_raise_format(err, api, "pid %lu", (unsigned long)pid);
    }
    int64_t began = (int64_t)(wi_filetime(created) - TOKEN_UNIX_EPOCH);
    PyObject *text = PyUnicode_FromWideChar(path, (Py_ssize_t)length);
    wi_heap_free(path);
    return text ? Py_BuildValue("(Nd)", text, (double)began / 1e7) : NULL;
}

typedef BOOL(WINAPI *process_information_fn)(HANDLE, int, void *, DWORD);

/* Whether it is a protected process (anti-malware, DRM, a part of the system).
 * NULL without an exception if unknown: Wine 8 has no GetProcessInformation. */
static PyObject *
token_protected(HANDLE process)
{
    const DWORD none = 0xFFFFFFFE; /* PROTECTION_LEVEL_NONE */
    DWORD level = none;
    process_information_fn get =
        (process_information_fn)(void (*)(void))GetProcAddress(
            GetModuleHandleW(L"kernel32.dll"), "GetProcessInformation");
    if (get == NULL || !get(process, 7 /* ProcessProtectionLevelInfo */,
                            &level, sizeof(level))) {
        return NULL;
    }
    return PyBool_FromLong(level != none);
}

static PyObject *
token_process_facts(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid, number;
    PyObject *exit_code = NULL, *session = NULL, *guarded = NULL;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process =
        OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process != NULL) {
        if (wi_has_exited(process) && GetExitCodeProcess(process, &number)) {
            exit_code = PyLong_FromUnsignedLong(number);
        }
        guarded = token_protected(process);
        CloseHandle(process);
    }
    if (ProcessIdToSessionId(pid, &number)) {
        session = PyLong_FromUnsignedLong(number);
    }
    return Py_BuildValue("(NNN)", exit_code ? exit_code : Py_NewRef(Py_None),
                         session ? session : Py_NewRef(Py_None),
                         guarded ? guarded : Py_NewRef(Py_None));
}

/* --------------------------------------------------- owner of a mapping */

/* Whether this is the owner that new objects of this process have: the user,
 * or the token's default owner, which for an elevated user is the
 * Administrators group. FALSE with the last error if that is not known. */
static BOOL
token_owns(PSID owner, BOOL *ours)
{
    HANDLE token;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) {
        return FALSE;
    }
    TOKEN_USER *user = wi_token_information(token, TokenUser);
    TOKEN_OWNER *usual =
        user == NULL ? NULL : wi_token_information(token, TokenOwner);
    DWORD err = GetLastError();
    BOOL ok = usual != NULL;
    *ours = ok && owner != NULL &&
            (EqualSid(owner, user->User.Sid) || EqualSid(owner, usual->Owner));
    CloseHandle(token);
    wi_heap_free(user);
    wi_heap_free(usual);
    SetLastError(err);
    return ok;
}

static PyObject *
token_mapping_is_ours(PyObject *Py_UNUSED(module), PyObject *arg)
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
        ok = token_owns(owner, &ours);
    }
    err = GetLastError();
    if (mapping != NULL) {
        CloseHandle(mapping);
    }
    Py_END_ALLOW_THREADS
    PyMem_Free(name);
    return ok ? PyBool_FromLong(ours) : wi_raise(err, api, arg);
}

/* ---------------------------------------------------------- privileges */

static PyObject *
token_set_privilege(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *name, *result = NULL;
    HANDLE token = NULL;
    int enable;
    TOKEN_PRIVILEGES wanted = {0}, before = {0};
    DWORD size = sizeof(before);
    if (!PyArg_ParseTuple(args, "Up:_set_privilege", &name, &enable)) {
        return NULL;
    }
    wchar_t *wide = PyUnicode_AsWideCharString(name, NULL);
    if (wide == NULL) {
        return NULL;
    }
    if (!OpenProcessToken(GetCurrentProcess(),
                          TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token)) {
        wi_raise(GetLastError(), "OpenProcessToken", name);
        goto done;
    }
    wanted.PrivilegeCount = 1;
    wanted.Privileges[0].Attributes = enable ? SE_PRIVILEGE_ENABLED : 0;
    if (!LookupPrivilegeValueW(NULL, wide, &wanted.Privileges[0].Luid)) {
        wi_raise(GetLastError(), "LookupPrivilegeValueW", name);
        goto done;
    }
    SetLastError(ERROR_SUCCESS);
    BOOL ok = AdjustTokenPrivileges(token, FALSE, &wanted, sizeof(before),
                                    &before, &size);
    DWORD err = GetLastError();
    if (!ok) {
        wi_raise(err, "AdjustTokenPrivileges", name);
        goto done;
    }
    if (err == ERROR_NOT_ALL_ASSIGNED) {
        wi_raise_as(PyExc_PermissionError, err, "AdjustTokenPrivileges", name);
        goto done;
    }
    /* `before` is empty if nothing had to change. */
    result = PyBool_FromLong(
        before.PrivilegeCount == 0
            ? enable
            : (before.Privileges[0].Attributes & SE_PRIVILEGE_ENABLED) != 0);
done:
    PyMem_Free(wide);
    if (token != NULL) {
        CloseHandle(token);
    }
    return result;
}

static PyMethodDef token_functions[] = {
    {"_process_image", token_process_image, METH_O,
     PyDoc_STR("_process_image($module, pid, /)\n--\n\n"
               "(path of the executable, creation time in seconds since\n"
               "1970)\n\n"
               "Win32: OpenProcess, GetProcessTimes,\n"
               "QueryFullProcessImageNameW")},
    {"_process_token", token_process_token, METH_O,
     PyDoc_STR("_process_token($module, pid, /)\n--\n\n"
               "(is elevated, integrity level, user's SID); level 0x2000 is\n"
               "medium.\n\n"
               "Win32: OpenProcessToken, GetTokenInformation")},
    {"_process_facts", token_process_facts, METH_O,
     PyDoc_STR("_process_facts($module, pid, /)\n--\n\n"
               "(exit code, session, is protected), each None if unknown.\n\n"
               "Win32: OpenProcess, GetExitCodeProcess,\n"
               "ProcessIdToSessionId, GetProcessInformation")},
    {"_mapping_is_ours", token_mapping_is_ours, METH_O,
     PyDoc_STR("_mapping_is_ours($module, name, /)\n--\n\n"
               "Whether this user owns the mapping with this name.\n\n"
               "Win32: OpenFileMappingW, GetKernelObjectSecurity")},
    {"_set_privilege", token_set_privilege, METH_VARARGS,
     PyDoc_STR("_set_privilege($module, name, enable, /)\n--\n\n"
               "Enable or disable a privilege; whether it was enabled\n"
               "before.\n\n"
               "Win32: LookupPrivilegeValueW, AdjustTokenPrivileges")},
    {NULL, NULL, 0, NULL},
};

int
wi_token_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, token_functions);
}
