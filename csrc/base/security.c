/* security.c: SECURITY_ATTRIBUTES from a Python argument.
 *
 * None leaves the choice to Windows (the token's default DACL). "owner" keeps
 * that DACL and sets the owner to the user's SID: a server such as Pageant
 * takes only a mapping whose owner is its own user, and an elevated process
 * would make the Administrators group the owner. Everything else is SDDL. */
#include "core.h"
#include "handles.h"

#include <sddl.h>

static int
security_from_owner(wi_security *security, PyObject *spec)
{
    TOKEN_USER *user = wi_current_user();
    if (user == NULL) {
        wi_raise(GetLastError(), "GetTokenInformation", spec);
        return -1;
    }
    security->user = user;
    if (!InitializeSecurityDescriptor(&security->absolute,
                                      SECURITY_DESCRIPTOR_REVISION) ||
        !SetSecurityDescriptorOwner(&security->absolute, user->User.Sid,
                                    FALSE)) {
        wi_raise(GetLastError(), "SetSecurityDescriptorOwner", spec);
        return -1;
    }
    security->attributes.lpSecurityDescriptor = &security->absolute;
    return 0;
}

static int
security_from_sddl(wi_security *security, PyObject *spec)
{
    wchar_t *sddl = PyUnicode_AsWideCharString(spec, NULL);
    if (sddl == NULL) {
        return -1;
    }
    BOOL ok = ConvertStringSecurityDescriptorToSecurityDescriptorW(
        sddl, SDDL_REVISION_1, &security->sddl, NULL);
    DWORD err = GetLastError();
    PyMem_Free(sddl);
    if (!ok) {
        security->sddl = NULL;
        wi_raise(err, "ConvertStringSecurityDescriptorToSecurityDescriptorW",
                 spec);
        return -1;
    }
    security->attributes.lpSecurityDescriptor = security->sddl;
    return 0;
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
    security->present = TRUE;
    int failed = PyUnicode_CompareWithASCIIString(spec, "owner") == 0
                     ? security_from_owner(security, spec)
                     : security_from_sddl(security, spec);
    if (failed) {
        wi_security_clear(security);
    }
    return failed;
}

SECURITY_ATTRIBUTES *
wi_security_attributes(wi_security *security)
{
    return security->present ? &security->attributes : NULL;
}

void
wi_security_clear(wi_security *security)
{
    wi_heap_free(security->user);
    LocalFree(security->sddl);
    memset(security, 0, sizeof(*security));
}
