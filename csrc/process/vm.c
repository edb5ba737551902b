/* vm.c: VirtualQueryEx, VirtualAllocEx, VirtualProtectEx and VirtualFreeEx.
 *
 * Nothing here uses Python; any thread may call, without the GIL. */
#include "process.h"

void
wi_vm_perform(wi_vm_call *call)
{
    HANDLE process = call->process;
    void *at = (void *)call->address;
    DWORD old = 0;
    SetLastError(ERROR_SUCCESS);
    switch (call->kind) {
    case WI_VM_QUERY:
        call->result =
            VirtualQueryEx(process, at, &call->region, sizeof(call->region));
        break;
    case WI_VM_ALLOC:
        call->result = (uintptr_t)VirtualAllocEx(process, at, call->size,
                                                 call->type, call->protection);
        break;
    case WI_VM_PROTECT:
        call->result = (uintptr_t)VirtualProtectEx(process, at, call->size,
                                                   call->protection, &old);
        call->protection = old;
        break;
    case WI_VM_FREE:
        call->result =
            (uintptr_t)VirtualFreeEx(process, at, call->size, call->type);
        break;
    }
    call->err = GetLastError();
}

uintptr_t
wi_remote_vm(wi_vm_call *call)
{
    if (wi_reads_ignore_protection()) {
        wi_wine_perform(call);
        if (call->kind != WI_VM_QUERY) {
            wi_wine_forget();
        }
    }
    else {
        wi_vm_perform(call);
    }
    SetLastError(call->err);
    return call->result;
}

BOOL
wi_remote_query(HANDLE process, uintptr_t address,
                MEMORY_BASIC_INFORMATION *region)
{
    wi_vm_call call = {
        .kind = WI_VM_QUERY, .process = process, .address = address};
    if (wi_remote_vm(&call) == 0) {
        return FALSE;
    }
    *region = call.region;
    return TRUE;
}
