/* vm.c: VirtualQueryEx, VirtualAllocEx, VirtualProtectEx and
 * VirtualFreeEx, as calls that return whatever becomes of the target.
 *
 * Windows does the work in the kernel, and these are plain calls. Wine has a
 * thread of the target do it: when the target is killed at that moment, the
 * call may never return (Wine 8.0, about one kill in ten of a busy target).
 * There it runs on a thread of the system's pool with a handle of its own; a
 * thread that is stuck after the target has died is left behind, and the
 * caller sees what every call to a dead process gives, ERROR_ACCESS_DENIED.
 *
 * No Python in here; any thread may call. The error is the last error. */
#include "process.h"

/* How often to look whether the target is dead, and how long a call may take
 * to notice it by itself, in milliseconds. */
#define VM_LOOK 100

typedef enum { VM_QUERY, VM_ALLOC, VM_PROTECT, VM_FREE } vm_kind;

/* A call and, once it is done, its outcome. */
typedef struct {
    vm_kind kind;
    HANDLE process;
    void *address;
    SIZE_T size;
    DWORD type;
    DWORD protection; /* in: the new one; out, for VM_PROTECT: the old one */
    MEMORY_BASIC_INFORMATION region;
    ULONG_PTR result; /* 0: failed with err */
    DWORD err;
} vm_call;

static void
vm_perform(vm_call *call)
{
    DWORD old = 0;
    SetLastError(ERROR_SUCCESS);
    switch (call->kind) {
    case VM_QUERY:
        call->result = VirtualQueryEx(call->process, call->address,
                                      &call->region, sizeof(call->region));
        break;
    case VM_ALLOC:
        call->result =
            (ULONG_PTR)VirtualAllocEx(call->process, call->address, call->size,
                                      call->type, call->protection);
        break;
    case VM_PROTECT:
        call->result = (ULONG_PTR)VirtualProtectEx(
            call->process, call->address, call->size, call->protection, &old);
        call->protection = old;
        break;
    case VM_FREE:
        call->result = (ULONG_PTR)VirtualFreeEx(call->process, call->address,
                                                call->size, call->type);
        break;
    }
    call->err = GetLastError();
}

/* ------------------------------------------- a call that may be left behind */

typedef struct {
    vm_call call; /* its process is a duplicate, owned by the job */
    SRWLOCK lock;
    CONDITION_VARIABLE done_changed;
    BOOL done;
    volatile LONG owners; /* the caller and the pool thread: 2, 1, freed */
} vm_job;

static void
vm_release(vm_job *job)
{
    if (InterlockedDecrement(&job->owners) == 0) {
        CloseHandle(job->call.process);
        HeapFree(GetProcessHeap(), 0, job);
    }
}

static void CALLBACK
vm_on_pool(PTP_CALLBACK_INSTANCE instance, void *context)
{
    vm_job *job = context;
    /* The pool makes another thread for the next one, should this get stuck. */
    CallbackMayRunLong(instance);
    vm_perform(&job->call);
    AcquireSRWLockExclusive(&job->lock);
    job->done = TRUE;
    ReleaseSRWLockExclusive(&job->lock);
    WakeConditionVariable(&job->done_changed);
    vm_release(job);
}

static BOOL
vm_is_dead(HANDLE process)
{
    DWORD code = STILL_ACTIVE;
    /* Both answers, as the handle may lack the right to wait. */
    return WaitForSingleObject(process, 0) == WAIT_OBJECT_0 ||
           (GetExitCodeProcess(process, &code) && code != STILL_ACTIVE);
}

/* TRUE when the call is done, FALSE when it is stuck in a dead process. */
static BOOL
vm_wait(vm_job *job)
{
    BOOL dead = FALSE;
    AcquireSRWLockExclusive(&job->lock);
    while (!job->done) {
        if (!SleepConditionVariableSRW(&job->done_changed, &job->lock, VM_LOOK,
                                       0) &&
            !job->done) {
            if (dead) {
                break;
            }
            dead = vm_is_dead(job->call.process);
        }
    }
    BOOL done = job->done;
    ReleaseSRWLockExclusive(&job->lock);
    return done;
}

static void
vm_perform_elsewhere(vm_call *call)
{
    HANDLE self = GetCurrentProcess();
    vm_job *job = HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*job));
    if (job == NULL) {
        call->result = 0;
        call->err = ERROR_NOT_ENOUGH_MEMORY;
        return;
    }
    job->call = *call;
    job->owners = 2;
    if (!DuplicateHandle(self, call->process, self, &job->call.process, 0,
                         FALSE, DUPLICATE_SAME_ACCESS) ||
        !TrySubmitThreadpoolCallback(vm_on_pool, job, NULL)) {
        call->result = 0;
        call->err = GetLastError();
        if (job->call.process != call->process) {
            CloseHandle(job->call.process);
        }
        HeapFree(GetProcessHeap(), 0, job);
        return;
    }
    HANDLE process = call->process;
    if (vm_wait(job)) {
        *call = job->call;
        call->process = process;
    }
    else {
        call->result = 0;
        call->err = ERROR_ACCESS_DENIED;
    }
    vm_release(job);
}

static ULONG_PTR
vm_run(vm_call *call)
{
    /* What lies about readable pages is what runs calls in the target. */
    if (wi_remote_lies()) {
        vm_perform_elsewhere(call);
    }
    else {
        vm_perform(call);
    }
    SetLastError(call->err);
    return call->result;
}

/* ------------------------------------------------------------ the functions */

BOOL
wi_remote_query(HANDLE process, uintptr_t address,
                MEMORY_BASIC_INFORMATION *region)
{
    vm_call call = {.kind = VM_QUERY, .process = process};
    call.address = (void *)address;
    if (vm_run(&call) == 0) {
        return FALSE;
    }
    *region = call.region;
    return TRUE;
}

void *
wi_remote_alloc(HANDLE process, uintptr_t address, size_t size, DWORD type,
                DWORD protection)
{
    vm_call call = {.kind = VM_ALLOC, .process = process, .size = size};
    call.address = (void *)address;
    call.type = type;
    call.protection = protection;
    return (void *)vm_run(&call);
}

BOOL
wi_remote_protect(HANDLE process, uintptr_t address, size_t size,
                  DWORD protection, DWORD *old)
{
    vm_call call = {.kind = VM_PROTECT, .process = process, .size = size};
    call.address = (void *)address;
    call.protection = protection;
    BOOL ok = vm_run(&call) != 0;
    *old = ok ? call.protection : 0;
    return ok;
}

BOOL
wi_remote_free(HANDLE process, uintptr_t address, size_t size, DWORD type)
{
    vm_call call = {.kind = VM_FREE, .process = process, .size = size};
    call.address = (void *)address;
    call.type = type;
    return vm_run(&call) != 0;
}
