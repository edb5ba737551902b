/* guard.c: work on memory whose pages may fail to come in.
 *
 * Windows reads a page of a mapped file when the page is first touched. If
 * that fails (a network share that went away, a medium pulled out, a file cut
 * short under a mapping), the touch raises EXCEPTION_IN_PAGE_ERROR and ends
 * the process. wi_guarded() runs a small C function and turns such a fault
 * into an error code.
 *
 * MSVC has __try for this. With other compilers a vectored handler does the
 * same: Windows calls it on the thread that faulted; it finds that thread's
 * guard in a TLS slot, and resumes at the place that was marked before the
 * work began. One handler serves all mapped files. It is installed only while
 * a file is mapped (wi_guard_hold), so importing the module changes nothing
 * process-wide.
 *
 * A fault stops the work where it is. So the work must not call Python, take
 * locks or allocate. It may call wi_guarded() with a range of its own. */
#include "core.h"

#include "guard.h"

/* The error of a fault that is the page's, and ERROR_SUCCESS for one that is a
 * bug. A failed page-in is the page's at any address, since the other side of
 * a copy may be a mapped file too. So is an access violation inside the range:
 * on some file systems and under Wine a page behind the end of a shortened
 * file gives one. */
static DWORD
guard_error(const EXCEPTION_RECORD *record, const char *low, const char *high)
{
    if (record->ExceptionCode == EXCEPTION_IN_PAGE_ERROR) {
        return ERROR_SWAPERROR;
    }
    if (record->ExceptionCode != EXCEPTION_ACCESS_VIOLATION ||
        record->NumberParameters < 2) {
        return ERROR_SUCCESS;
    }
    uintptr_t at = (uintptr_t)record->ExceptionInformation[1];
    if (at < (uintptr_t)low || at >= (uintptr_t)high) {
        return ERROR_SUCCESS;
    }
    return ERROR_NOACCESS;
}

#if defined(_MSC_VER)

int
wi_guard_hold(void)
{
    return 0;
}

void
wi_guard_drop(void)
{
}

DWORD
wi_guarded(wi_guarded_fn work, void *arg, const char *low, const char *high)
{
    DWORD error = ERROR_SUCCESS;
    __try {
        work(arg);
    } __except (
        (error = guard_error(((EXCEPTION_POINTERS *)GetExceptionInformation())
                                 ->ExceptionRecord,
                             low, high)) != ERROR_SUCCESS
            ? EXCEPTION_EXECUTE_HANDLER
            : EXCEPTION_CONTINUE_SEARCH) {
    }
    return error;
}

#else /* no __try: a vectored handler and a captured context */

typedef struct guard_frame {
#if defined(__i386__)
    void *place[5]; /* of __builtin_setjmp */
#else
    CONTEXT place;
#endif
    struct guard_frame *outer;
    const char *low;
    const char *high;
    volatile DWORD error;
    volatile LONG running;
} guard_frame;

/* The TLS slot is made once for the process and kept: it holds the innermost
 * guard of each thread, on that thread's own stack. */
static INIT_ONCE guard_once = INIT_ONCE_STATIC_INIT;
static DWORD guard_slot = TLS_OUT_OF_INDEXES;

static BOOL CALLBACK
guard_make_slot(INIT_ONCE *Py_UNUSED(once), void *Py_UNUSED(parameter),
                void **Py_UNUSED(context))
{
    guard_slot = TlsAlloc();
    return guard_slot != TLS_OUT_OF_INDEXES;
}

#if defined(__i386__)

/* Where a thread continues after its work faulted. */
static void
guard_land(void)
{
    guard_frame *frame = TlsGetValue(guard_slot);
    while (frame->error == ERROR_SUCCESS) {
        frame = frame->outer;
    }
    __builtin_longjmp(frame->place, 1);
}

/* The 32-bit RtlCaptureContext relies on its caller's frame pointer, and a
 * compiler may leave that out. */
#define GUARD_MARK(frame) ((void)__builtin_setjmp((frame)->place))

static void
guard_resume(CONTEXT *context, const guard_frame *Py_UNUSED(frame))
{
    context->Eip = (DWORD)(uintptr_t)guard_land;
    /* As after a call: the return address is just below a multiple of 16. */
    context->Esp = ((context->Esp - 64) & ~(DWORD)15) - sizeof(void *);
}

#else

#define GUARD_MARK(frame) RtlCaptureContext(&(frame)->place)

static void
guard_resume(CONTEXT *context, const guard_frame *frame)
{
    *context = frame->place;
}

#endif

static LONG CALLBACK
guard_handler(EXCEPTION_POINTERS *info)
{
    DWORD last = GetLastError(); /* TlsGetValue clears it */
    guard_frame *frame = TlsGetValue(guard_slot);
    LONG answer = EXCEPTION_CONTINUE_SEARCH;
    /* Guards nest where both sides of a copy are files. */
    for (; frame != NULL && frame->running; frame = frame->outer) {
        DWORD error =
            guard_error(info->ExceptionRecord, frame->low, frame->high);
        if (error != ERROR_SUCCESS) {
            frame->error = error;
            frame->running = 0;
            guard_resume(info->ContextRecord, frame);
            answer = EXCEPTION_CONTINUE_EXECUTION;
            break;
        }
    }
    SetLastError(last);
    return answer;
}

/* The handler, and how many hold it. */
static SRWLOCK guard_lock = SRWLOCK_INIT;
static size_t guard_holders;
static void *guard_added;

int
wi_guard_hold(void)
{
    if (!InitOnceExecuteOnce(&guard_once, guard_make_slot, NULL, NULL)) {
        return -1;
    }
    AcquireSRWLockExclusive(&guard_lock);
    if (guard_holders == 0) {
        guard_added = AddVectoredExceptionHandler(1, guard_handler);
    }
    int result = guard_added == NULL ? -1 : 0;
    guard_holders += result == 0;
    ReleaseSRWLockExclusive(&guard_lock);
    return result;
}

void
wi_guard_drop(void)
{
    AcquireSRWLockExclusive(&guard_lock);
    if (--guard_holders == 0) {
        RemoveVectoredExceptionHandler(guard_added);
        guard_added = NULL;
    }
    ReleaseSRWLockExclusive(&guard_lock);
}

/* When the work faults, the thread comes back to GUARD_MARK and passes it a
 * second time. So nothing here may live only in a register or in a reused
 * stack slot: `frame` belongs to the caller, and its use after the work keeps
 * it alive. */
WI_NOINLINE static void
guard_run(guard_frame *volatile frame, wi_guarded_fn work, void *arg)
{
    GUARD_MARK(frame);
    if (frame->error == ERROR_SUCCESS) {
        frame->running = 1;
        work(arg);
        frame->running = 0;
    }
}

DWORD
wi_guarded(wi_guarded_fn work, void *arg, const char *low, const char *high)
{
    guard_frame frame;
    frame.outer = TlsGetValue(guard_slot);
    frame.low = low;
    frame.high = high;
    frame.error = ERROR_SUCCESS;
    frame.running = 0;
    TlsSetValue(guard_slot, &frame);
    guard_run(&frame, work, arg);
    TlsSetValue(guard_slot, frame.outer);
    return frame.error;
}

#endif
