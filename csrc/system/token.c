/* token.c: facts about a process and its token, and this one's privileges.
 *
 *     _core._process_image(pid)    # (path, when it began)
 *     _core._process_token(pid)    # (is elevated, integrity level)
 *     _core._process_facts(pid)    # (exit code, session, user, level, guarded)
 *     _core._mapping_is_ours(name) # whether this user owns it
 *     _core._session_id()          # of this process
 *     _core._privileges()          # [(name, is enabled)] of this process
 *     _core._set_privilege("SeDebugPrivilege", True)
 *
 * Owner: nothing is kept. Thread: any. GIL: OpenProcess runs without it. */
#include "base/core.h"
#include "base/handles.h"

#include <sddl.h>

/* 100 ns from 1601 to 1970. */
#define TOKEN_UNIX_EPOCH UINT64_C(116444736000000000)

/* ------------------------------------------------------------- a token */

/* The integrity level of a token. FALSE with the last error. */
static BOOL
token_integrity(HANDLE token, DWORD *level)
{
    TOKEN_MANDATORY_LABEL *label =
        wi_token_information(token, TokenIntegrityLevel);
    if (label == NULL) {
        return FALSE;
    }
    DWORD count = *GetSidSubAuthorityCount(label->Label.Sid);
    *level = count == 0 ? 0 : *GetSidSubAuthority(label->Label.Sid, count - 1);
    wi_heap_free(label);
    return TRUE;
}

PyDoc_STRVAR(token_process_token_doc,
             "_process_token($module, pid, /)\n--\n\n"
             "(is elevated, integrity level) of a process; 0x2000 is medium.");

static PyObject *
token_process_token(PyObject *Py_UNUSED(module), PyObject *arg)
{
    DWORD pid, level = 0, size;
    HANDLE token;
    TOKEN_ELEVATION elevation = {0};
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process = wi_open_process(PROCESS_QUERY_LIMITED_INFORMATION, pid);
    if (process == NULL) {
        return NULL;
    }
    const char *api = "OpenProcessToken";
    BOOL ok = OpenProcessToken(process, TOKEN_QUERY, &token);
    if (ok) {
        api = "GetTokenInformation";
        ok = GetTokenInformation(token, TokenElevation, &elevation,
                                 sizeof(elevation), &size) &&
             token_integrity(token, &level);
        DWORD err = GetLastError();
        CloseHandle(token);
        SetLastError(err);
    }
    DWORD err = GetLastError();
    CloseHandle(process);
    if (!ok) {
        return wi_raise_format(err, api, "pid %lu", (unsigned long)pid);
    }
    return Py_BuildValue("Ok", elevation.TokenIsElevated ? Py_True : Py_False,
                         level);
}

/* Its user (as SID) and its integrity level; both stay NULL where unknown. */
static void
token_facts(HANDLE process, PyObject **user, PyObject **integrity)
{
    HANDLE token;
    DWORD level;
    wchar_t *text = NULL;
    if (!OpenProcessToken(process, TOKEN_QUERY, &token)) {
        return;
    }
    TOKEN_USER *owner = wi_token_information(token, TokenUser);
    if (owner != NULL && ConvertSidToStringSidW(owner->User.Sid, &text)) {
        *user = PyUnicode_FromWideChar(text, -1);
        LocalFree(text);
    }
    if (token_integrity(token, &level)) {
        *integrity = PyLong_FromUnsignedLong(level);
    }
    wi_heap_free(owner);
    CloseHandle(token);
}

/* ----------------------------------------------------------- a process */

PyDoc_STRVAR(token_process_image_doc,
             "_process_image($module, pid, /)\n--\n\n"
             "(path of the executable, creation time in seconds since 1970).");

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

/* Whether it is a protected process (anti-malware, DRM, the system's own).
 * NULL where unknown: Windows 8 has no GetProcessInformation. */
static PyObject *
token_protected(HANDLE process)
{
    const DWORD none = 0xFFFFFFFE; /* PROTECTION_LEVEL_NONE */
    DWORD level = none;
    HMODULE kernel32 = GetModuleHandleW(L"kernel32.dll");
    process_information_fn get =
        kernel32 == NULL
            ? NULL
            : (process_information_fn)(void (*)(void))GetProcAddress(
                  kernel32, "GetProcessInformation");
    if (get == NULL || !get(process, 7 /* ProcessProtectionLevelInfo */,
                            &level, sizeof(level))) {
        return NULL;
    }
    return PyBool_FromLong(level != none);
}

PyDoc_STRVAR(token_process_facts_doc,
             "_process_facts($module, pid, /)\n--\n\n"
             "Exit code, session, user SID, integrity level, protected;\n"
             "None for each that is unknown.");

static PyObject *
token_process_facts(PyObject *Py_UNUSED(module), PyObject *arg)
{
    enum { EXIT_CODE, SESSION, USER, INTEGRITY, PROTECTED, FACTS };
    DWORD pid, number;
    PyObject *found[FACTS] = {NULL}, *facts = NULL;
    if (!wi_u32_converter(arg, &pid)) {
        return NULL;
    }
    HANDLE process =
        OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process != NULL) {
        if (wi_has_exited(process) && GetExitCodeProcess(process, &number)) {
            found[EXIT_CODE] = PyLong_FromUnsignedLong(number);
        }
        token_facts(process, &found[USER], &found[INTEGRITY]);
        found[PROTECTED] = token_protected(process);
        CloseHandle(process);
    }
    if (ProcessIdToSessionId(pid, &number)) {
        found[SESSION] = PyLong_FromUnsignedLong(number);
    }
    if (!PyErr_Occurred()) {
        facts = PyTuple_New(FACTS);
    }
    for (int i = 0; i < FACTS; i++) {
        if (facts == NULL) {
            Py_XDECREF(found[i]);
        }
        else {
            PyTuple_SetItem(facts, i,
                            found[i] ? found[i] : Py_NewRef(Py_None));
        }
    }
    return facts;
}

PyDoc_STRVAR(token_session_id_doc, "_session_id($module, /)\n--\n\n"
                                   "The number of this process's session.\n\n"
                                   "Win32: ProcessIdToSessionId");

static PyObject *
token_session_id(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(noargs))
{
    DWORD session;
    if (!ProcessIdToSessionId(GetCurrentProcessId(), &session)) {
        return wi_raise_format(GetLastError(), "ProcessIdToSessionId",
                               "this process");
    }
    return PyLong_FromUnsignedLong(session);
}

/* --------------------------------------------------- owner of a mapping */

/* Whether a new object of this process could have this owner: the user, or
 * the default owner of the token, which for an elevated user is the group of
 * administrators. FALSE with the last error when that is not known. */
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

PyDoc_STRVAR(token_mapping_is_ours_doc,
             "_mapping_is_ours($module, name, /)\n--\n\n"
             "Whether this user owns the mapping with this name.");

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

static HANDLE
token_own(DWORD rights)
{
    HANDLE token;
    if (!OpenProcessToken(GetCurrentProcess(), rights, &token)) {
        wi_raise_format(GetLastError(), "OpenProcessToken", "this process");
        return NULL;
    }
    return token;
}

PyDoc_STRVAR(token_privileges_doc,
             "_privileges($module, /)\n--\n\n"
             "List of (name, enabled): the privileges of this process.");

static PyObject *
token_privileges(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(noargs))
{
    HANDLE token = token_own(TOKEN_QUERY);
    if (token == NULL) {
        return NULL;
    }
    TOKEN_PRIVILEGES *held = wi_token_information(token, TokenPrivileges);
    DWORD err = GetLastError();
    CloseHandle(token);
    if (held == NULL) {
        return wi_raise_format(err, "GetTokenInformation", "this process");
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
        PyObject *row = Py_BuildValue("(uO)", name, on ? Py_True : Py_False);
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    wi_heap_free(held);
    return list;
}

PyDoc_STRVAR(token_set_privilege_doc,
             "_set_privilege($module, name, enable, /)\n--\n\n"
             "Enable or disable a privilege; whether it was enabled.");

static PyObject *
token_set_privilege(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *name, *result = NULL;
    int enable;
    TOKEN_PRIVILEGES wanted = {0}, before = {0};
    DWORD size = sizeof(before);
    if (!PyArg_ParseTuple(args, "Up:_set_privilege", &name, &enable)) {
        return NULL;
    }
    wchar_t *wide = PyUnicode_AsWideCharString(name, NULL);
    HANDLE token =
        wide ? token_own(TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY) : NULL;
    if (token == NULL) {
        PyMem_Free(wide);
        return NULL;
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
    /* `before` lists nothing when nothing had to change. */
    result = PyBool_FromLong(
        before.PrivilegeCount == 0
            ? enable
            : (before.Privileges[0].Attributes & SE_PRIVILEGE_ENABLED) != 0);
done:
    PyMem_Free(wide);
    CloseHandle(token);
    return result;
}

static PyMethodDef token_functions[] = {
    {"_process_image", token_process_image, METH_O, token_process_image_doc},
    {"_process_token", token_process_token, METH_O, token_process_token_doc},
    {"_process_facts", token_process_facts, METH_O, token_process_facts_doc},
    {"_mapping_is_ours", token_mapping_is_ours, METH_O,
     token_mapping_is_ours_doc},
    {"_session_id", token_session_id, METH_NOARGS, token_session_id_doc},
    {"_privileges", token_privileges, METH_NOARGS, token_privileges_doc},
    {"_set_privilege", token_set_privilege, METH_VARARGS,
     token_set_privilege_doc},
    {NULL, NULL, 0, NULL},
};

int
wi_token_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, token_functions);
}
