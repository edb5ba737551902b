/* security.c: SECURITY_ATTRIBUTES from a Python argument.
 *
 * None leaves the choice to Windows (the token's default DACL). "owner" keeps
 * that DACL and sets the owner to the user's SID: a server such as Pageant
 * takes only a mapping whose owner is its own user, and an elevated process
 * would make the Administrators group the owner. Everything else is SDDL. */
#include "core.h"
#include "handles.h"

#include <sddl.h>

/* "O:<SID of this user>", for PyMem_Free. */
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
                        "security must be an SDDL string, \"owner\" or None");
        return -1;
    }
    wchar_t *sddl = PyUnicode_CompareWithASCIIString(spec, "owner") == 0
                        ? security_owner(spec)
                        : PyUnicode_AsWideCharString(spec, NULL);
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
