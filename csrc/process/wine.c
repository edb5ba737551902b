/* wine.c: what only Wine needs; Windows asks the one question and goes on.
 *
 * Wine differs in two ways. ReadProcessMemory also reads protected pages,
 * so that VirtualQueryEx has to be asked before each access. And a thread of the
 * target does the work of VirtualQueryEx and its relatives: when the target is
 * killed at that moment, the call may never return (Wine 8.0: about one kill in
 * ten of a busy target). Here such a call runs on a thread of the system's pool;
 * a thread that is stuck after the target has died is left behind, and the
 * caller sees what every call to a dead process gives, ERROR_ACCESS_DENIED (5).
 *
 * Owner: a job is freed by the last of its two threads. Thread: any. GIL: not
 * needed, and better given up, as the target may have been stopped. */
#include "base/handles.h"
#include "process.h"

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

BOOL
wi_reads_ignore_protection(void)
{
    /* A fact about the system, the same for every interpreter: the first caller
     * finds it out, and two at once find the same. */
    static volatile LONG known = 0; /* 1: they respect it, 2: they ignore it */
    if (known == 0) {
        InterlockedExchange(&known, wine_probe() ? 2 : 1);
    }
    return known == 2;
}

typedef struct {
    wi_vm_call call; /* its process is a duplicate, owned by the job */
    HANDLE done;     /* an event */
    volatile LONG owners;
} wine_job;

static void
wine_release(wine_job *job)
{
    if (InterlockedDecrement(&job->owners) == 0) {
        CloseHandle(job->call.process);
        CloseHandle(job->done);
        wi_heap_free(job);
    }
}

static void CALLBACK
wine_on_pool(PTP_CALLBACK_INSTANCE instance, void *context)
{
    wine_job *job = context;
    /* The pool makes another thread for the next job, should this get stuck. */
    CallbackMayRunLong(instance);
    wi_vm_perform(&job->call);
    SetEvent(job->done);
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
    job->done = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (job->done != NULL &&
        DuplicateHandle(self, call->process, self, &job->call.process, 0,
                        FALSE, DUPLICATE_SAME_ACCESS) &&
        TrySubmitThreadpoolCallback(wine_on_pool, job, NULL)) {
        return job;
    }
    DWORD err = GetLastError();
    if (job->call.process != NULL) {
        CloseHandle(job->call.process);
    }
    if (job->done != NULL) {
        CloseHandle(job->done);
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
    DWORD wait;
    while ((wait = WaitForSingleObject(job->done, WINE_LOOK)) ==
               WAIT_TIMEOUT &&
           !dead) {
        dead = wi_has_exited(process);
    }
    if (wait == WAIT_OBJECT_0) {
        *call = job->call;
        call->process = process;
    }
    else {
        call->err = ERROR_ACCESS_DENIED;
    }
    wine_release(job);
}
