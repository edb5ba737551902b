/* security.c: SECURITY_ATTRIBUTES from a Python argument.
 *
 * None leaves the choice to Windows (the token's default DACL). "owner" keeps
 * that DACL and makes the user's SID the owner. A server such as Pageant takes
 * a mapping only if its own user owns it, and the objects of an elevated
 * process belong to the Administrators group by default. A preset is a name
 * for SDDL, and every other string is SDDL. The caller holds the GIL. */
#include "core.h"
#include "handles.h"

#include <sddl.h>

/* Nothing is inherited; all rights for the system, administrators and the
 * owner (S-1-3-4). GX is SYNCHRONIZE, which waiters need. */
#define SECURITY_SERVICE L"D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GA;;;S-1-3-4)"

static const struct {
    const char *name;
    const wchar_t *sddl;
} security_presets[] = {
    /* IU: users who are logged on interactively, in every session. */
    {"service+users", SECURITY_SERVICE L"(A;;GRGWGX;;;IU)"},
    {"service+readers", SECURITY_SERVICE L"(A;;GRGX;;;IU)"},
};

#define SECURITY_WORDS "\"owner\", \"service+users\" or \"service+readers\""

/* "O:<SID of this user>"; free it with PyMem_Free. */
static wchar_t *
security_owner(PyObject *spec)
{
    wchar_t *sid = NULL, *sddl = NULL;
    TOKEN_USER *user = wi_current_user();
    if (user == NULL || !ConvertSidToStringSidW(user->User.Sid, &sid)) {
        wi_raise(GetLastError(), "GetTokenInformation", spec);
    }
    else {
        size_t size = wcslen(sid) + 1;
        sddl = PyMem_Calloc(size + 2, sizeof(*sddl));
        if (sddl == NULL) {
            PyErr_NoMemory();
        }
        else {
            memcpy(sddl, L"O:", 2 * sizeof(*sddl));
            memcpy(sddl + 2, sid, size * sizeof(*sid));
        }
    }
    LocalFree(sid);
    wi_heap_free(user);
    return sddl;
}

/* The SDDL that a str argument means; free it with PyMem_Free. */
static wchar_t *
security_sddl(PyObject *spec)
{
    if (PyUnicode_CompareWithASCIIString(spec, "owner") == 0) {
        return security_owner(spec);
    }
    for (size_t i = 0; i < Py_ARRAY_LENGTH(security_presets); i++) {
        if (PyUnicode_CompareWithASCIIString(spec, security_presets[i].name) ==
            0) {
            const wchar_t *sddl = security_presets[i].sddl;
            size_t size = (wcslen(sddl) + 1) * sizeof(*sddl);
            wchar_t *copy = PyMem_Malloc(size);
            return copy == NULL ? (wchar_t *)PyErr_NoMemory()
                                : memcpy(copy, sddl, size);
        }
    }
    return PyUnicode_AsWideCharString(spec, NULL);
}

int
wi_security_init(wi_security *security, PyObject *spec)
{
    memset(security, 0, sizeof(*security));
    security->attributes.nLength = sizeof(security->attributes);
    if (spec == NULL || spec == Py_None) {
        return 0;
    }
    if (!PyUnicode_Check(spec)) {
        PyErr_SetString(PyExc_TypeError,
                        "security must be an SDDL string, " SECURITY_WORDS
                        ", or None");
        return -1;
    }
    wchar_t *sddl = security_sddl(spec);
    if (sddl == NULL) {
        return -1;
    }
    BOOL ok = ConvertStringSecurityDescriptorToSecurityDescriptorW(
        sddl, SDDL_REVISION_1, &security->attributes.lpSecurityDescriptor,
        NULL);
    DWORD err = GetLastError();
    PyMem_Free(sddl);
    if (!ok) {
        memset(security, 0, sizeof(*security));
    }
    if (!ok && PyUnicode_FindChar(spec, ':', 0, PY_SSIZE_T_MAX, 1) == -1) {
        PyErr_Format(PyExc_ValueError,
                     "security: %R is neither SDDL, such as "
                     "\"D:P(A;;GR;;;WD)\", nor " SECURITY_WORDS,
                     spec);
    }
    else if (!ok) {
        wi_raise(err, "ConvertStringSecurityDescriptorToSecurityDescriptorW",
                 spec);
    }
    return ok ? 0 : -1;
}

SECURITY_ATTRIBUTES *
wi_security_attributes(wi_security *security)
{
    return security->attributes.lpSecurityDescriptor != NULL
               ? &security->attributes
               : NULL;
}

void
wi_security_clear(wi_security *security)
{
    LocalFree(security->attributes.lpSecurityDescriptor);
    memset(security, 0, sizeof(*security));
}
