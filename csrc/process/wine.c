/* wine.c: what only Wine needs; on Windows wi_reads_ignore_protection is
 * FALSE.
 *
 * Wine differs in three ways. ReadProcessMemory also reads protected pages,
 * so that VirtualQueryEx has to be asked before each access; an answer holds for
 * accesses that follow each other at once. And a thread of the
 * target does the work of VirtualQueryEx and its relatives: when the target is
 * killed at that moment, the call may never return (Wine 8.0: about one kill in
 * ten of a busy target). Here such a call runs on a thread of the system's pool;
 * a thread that is stuck after the target has died is left behind, and the
 * caller sees what every call to a dead process gives, ERROR_ACCESS_DENIED (5).
 * Wine 10's WriteProcessMemory begins with VirtualQueryEx, so that it could get
 * stuck, too; a write is the call below it, NtWriteVirtualMemory.
 * And to a 32-bit caller VirtualAllocEx gives the lower half of an address in a
 * 64-bit target; Windows allocates below 4 GiB then.
 *
 * Owner: the last of a job's two threads frees it. Thread: any. GIL: not
 * needed, and better given up, as the target may have been stopped. */
#include "base/handles.h"
#include "base/nt.h"
#include "process.h"

#include <intrin.h>

/* How often to look whether the target is dead, and how long a call may then
 * take to notice it by itself, in milliseconds. */
#define WINE_LOOK 100

static BOOL
wine_probe(void)
{
    HANDLE self = GetCurrentProcess(), copy;
    BOOL ignored = FALSE;
    char byte;
    SIZE_T done;
    void *page =
        VirtualAlloc(NULL, WI_PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_NOACCESS);
    /* A real handle: Wine 10 refuses such a read to the pseudo handle only. */
    if (page != NULL &&
        DuplicateHandle(self, self, self, &copy, PROCESS_VM_READ, FALSE, 0)) {
        ignored = ReadProcessMemory(copy, page, &byte, 1, &done);
        CloseHandle(copy);
    }
    if (page != NULL) {
        VirtualFree(page, 0, MEM_RELEASE);
    }
    return ignored;
}

/* A fact about the system, so every interpreter has the same. The first caller
 * finds it out; two callers at once find the same. */
static volatile LONG wine_reads =
    0; /* 1: they respect it, 2: they ignore it */

BOOL
wi_reads_ignore_protection(void)
{
    if (wine_reads == 0) {
        InterlockedExchange(&wine_reads, wine_probe() ? 2 : 1);
    }
    return wine_reads == 2;
}

BOOL
wi_wine_write(HANDLE target, uintptr_t address, const void *data, size_t size,
              SIZE_T *written)
{
    wi_ntstatus status =
        NtWriteVirtualMemory(target, (void *)address, data, size, written);
    if (!WI_NT_SUCCESS(status)) {
        SetLastError(RtlNtStatusToDosError(status));
        return FALSE;
    }
    wi_wine_accessed(target);
    return TRUE;
}

/* ------------------------------------------------ what was asked just now */

/* An answer of VirtualQueryEx costs several reads. It holds while one access
 * follows the other within WINE_GAP, since a target that is told to change its
 * memory has not answered by then; and for WINE_LIFE at most. The performance
 * counter is a system call here, so the time is that of the processor, whose 1 to
 * 5 GHz are near enough: 30 to 150 us, and 12 to 60 ms. Where the counters of
 * processors differ, it is asked again. */
#if defined(_M_X64) || defined(__x86_64__) || defined(_M_IX86) ||             \
    defined(__i386__)
#define WINE_GAP UINT64_C(150000)
#define WINE_LIFE UINT64_C(60000000)
#define wine_now() ((uint64_t)__rdtsc())
#else
#define WINE_GAP UINT64_C(500) /* of 10 MHz */
#define WINE_LIFE UINT64_C(200000)

static uint64_t
wine_now(void)
{
    LARGE_INTEGER now;
    QueryPerformanceCounter(&now);
    return (uint64_t)now.QuadPart;
}
#endif

static struct {
    SRWLOCK lock;
    HANDLE target; /* NULL: nothing was asked */
    BOOL own;      /* it is this process */
    uintptr_t first;
    uintptr_t last;
    BOOL may_read;
    BOOL may_write;
    uint64_t asked; /* when */
    uint64_t used;
} wine_answer = {SRWLOCK_INIT, NULL, FALSE, 0, 0, FALSE, FALSE, 0, 0};

BOOL
wi_wine_recalls(HANDLE target, uintptr_t address, uintptr_t last, BOOL write)
{
    const uint64_t now = wine_now();
    AcquireSRWLockShared(&wine_answer.lock);
    BOOL known = wine_answer.target == target &&
                 address >= wine_answer.first && last <= wine_answer.last &&
                 (write ? wine_answer.may_write : wine_answer.may_read) &&
                 now - wine_answer.used < WINE_GAP &&
                 now - wine_answer.asked < WINE_LIFE;
    ReleaseSRWLockShared(&wine_answer.lock);
    return known;
}

void
wi_wine_remember(HANDLE target, const MEMORY_BASIC_INFORMATION *region)
{
    AcquireSRWLockExclusive(&wine_answer.lock);
    if (wine_answer.target != target) {
        wine_answer.target = target;
        wine_answer.own = GetProcessId(target) == GetCurrentProcessId();
    }
    wine_answer.first = (uintptr_t)region->BaseAddress;
    wine_answer.last = wine_answer.first + (region->RegionSize - 1);
    /* This process changes its own memory between any two calls. */
    wine_answer.may_read = !wine_answer.own && wi_region_readable(region);
    wine_answer.may_write = !wine_answer.own && wi_region_writable(region);
    wine_answer.asked = wine_answer.used = wine_now();
    ReleaseSRWLockExclusive(&wine_answer.lock);
}

void
wi_wine_accessed(HANDLE target)
{
    const uint64_t now = wine_now();
    AcquireSRWLockExclusive(&wine_answer.lock);
    if (wine_answer.target == target) {
        wine_answer.used = now;
    }
    ReleaseSRWLockExclusive(&wine_answer.lock);
}

void
wi_wine_forget(void)
{
    if (wine_reads == 2) { /* else nothing was remembered */
        AcquireSRWLockExclusive(&wine_answer.lock);
        wine_answer.target = NULL;
        ReleaseSRWLockExclusive(&wine_answer.lock);
    }
}

/* ------------------------------------------------- calls of the target's */

typedef struct {
    wi_vm_call call; /* its process is a duplicate, which the pool closes */
    SRWLOCK lock;    /* guards done; all three ask nothing of wineserver */
    CONDITION_VARIABLE over;
    BOOL done;
    volatile LONG owners;
} wine_job;

static void
wine_release(wine_job *job)
{
    if (InterlockedDecrement(&job->owners) == 0) {
        wi_heap_free(job);
    }
}

#if UINTPTR_MAX == UINT32_MAX
/* Where addresses that Windows gives begin, and what they are multiples of. */
#define WINE_LOWEST 0x1000000
#define WINE_GRAIN 0x10000

/* Allocate at a free address that has 32 bits. */
static void
wine_alloc(wi_vm_call *call)
{
    wi_vm_call look = {
        .kind = WI_VM_QUERY, .process = call->process, .address = WINE_LOWEST};
    wi_vm_call try_at = *call;
    call->result = 0;
    call->err = ERROR_NOT_ENOUGH_MEMORY;
    for (;;) {
        wi_vm_perform(&look);
        if (look.result == 0) {
            call->err = look.err;
            return;
        }
        const uintptr_t base = (uintptr_t)look.region.BaseAddress;
        uintptr_t end = base + look.region.RegionSize;
        end = end < look.address ? UINTPTR_MAX : end; /* above 4 GiB */
        const size_t skip = (size_t)(0 - base) % WINE_GRAIN;
        if (look.region.State == MEM_FREE && end - base > skip &&
            end - base - skip >= call->size) {
            try_at.address = base + skip;
            wi_vm_perform(&try_at);
            /* Another thread may have taken it in between. */
            if (try_at.result != 0 || try_at.err != ERROR_INVALID_ADDRESS) {
                call->result = try_at.result;
                call->err = try_at.err;
                return;
            }
        }
        if (end == UINTPTR_MAX) {
            return;
        }
        look.address = end;
    }
}
#endif

static void
wine_do(wi_vm_call *call)
{
#if UINTPTR_MAX == UINT32_MAX
    BOOL narrow = TRUE;
    if (call->kind == WI_VM_ALLOC && call->address == 0 &&
        IsWow64Process(call->process, &narrow) && !narrow) {
        wine_alloc(call);
        return;
    }
#endif
    wi_vm_perform(call);
}

static void CALLBACK
wine_on_pool(PTP_CALLBACK_INSTANCE instance, void *context)
{
    wine_job *job = context;
    /* The pool makes another thread for the next job, should this get stuck. */
    CallbackMayRunLong(instance);
    wine_do(&job->call);
    CloseHandle(job->call.process);
    AcquireSRWLockExclusive(&job->lock);
    job->done = TRUE;
    WakeConditionVariable(&job->over);
    ReleaseSRWLockExclusive(&job->lock);
    wine_release(job);
}

/* Start the call on the pool; NULL with the last error. */
static wine_job *
wine_start(const wi_vm_call *call)
{
    HANDLE self = GetCurrentProcess();
    wine_job *job =
        HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, sizeof(*job));
    if (job == NULL) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    job->call = *call;
    job->call.process = NULL;
    job->owners = 2;
    InitializeSRWLock(&job->lock);
    InitializeConditionVariable(&job->over);
    if (DuplicateHandle(self, call->process, self, &job->call.process, 0,
                        FALSE, DUPLICATE_SAME_ACCESS) &&
        TrySubmitThreadpoolCallback(wine_on_pool, job, NULL)) {
        return job;
    }
    DWORD err = GetLastError();
    if (job->call.process != NULL) {
        CloseHandle(job->call.process);
    }
    wi_heap_free(job);
    SetLastError(err);
    return NULL;
}

void
wi_wine_perform(wi_vm_call *call)
{
    HANDLE process = call->process;
    wine_job *job = wine_start(call);
    call->result = 0;
    if (job == NULL) {
        call->err = GetLastError();
        return;
    }
    BOOL dead = FALSE;
    AcquireSRWLockExclusive(&job->lock);
    while (!job->done && !dead) {
        if (!SleepConditionVariableSRW(&job->over, &job->lock, WINE_LOOK, 0)) {
            dead = wi_has_exited(process);
        }
    }
    if (!job->done) { /* it may notice by itself */
        SleepConditionVariableSRW(&job->over, &job->lock, WINE_LOOK, 0);
    }
    if (job->done) {
        *call = job->call;
        call->process = process;
    }
    else {
        call->err = ERROR_ACCESS_DENIED;
    }
    ReleaseSRWLockExclusive(&job->lock);
    wine_release(job);
}
