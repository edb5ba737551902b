/* guard.c: work on memory whose pages may fail to come in.
 *
 * A page of a mapped file is read when it is first touched, and when that
 * fails (a network share that went away, a medium pulled out, a file cut
 * short under a mapping) the touch itself raises EXCEPTION_IN_PAGE_ERROR and
 * ends the process. wi_guarded() runs a small C function and turns such a
 * fault inside its range into an error code.
 *
 * MSVC has __try for it. Other compilers get the same from a vectored
 * handler: it is called on the thread that faulted, finds that thread's guard
 * in a TLS slot, and resumes at the place that was marked before the work
 * began. One handler serves all mapped files. It is there only while
 * there is one (wi_guard_hold), so importing the module changes nothing
 * process-wide.
 *
 * The work must not call Python, take locks or allocate, but may be guarded
 * itself, with a range of its own: after a fault it is simply not finished. */
#include "core.h"

#include "guard.h"

/* Which faults are the page's and not a bug: a failed page-in anywhere (the
 * other side of a copy may be a mapped file as well), and an access violation
 * inside the range, which is what a page behind the end of a file that was
 * cut short gives on some file systems and under Wine. */
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

/* Where a thread goes on whose work faulted. */
static void
guard_land(void)
{
    guard_frame *frame = TlsGetValue(guard_slot);
    while (frame->error == ERROR_SUCCESS) {
        frame = frame->outer;
    }
    __builtin_longjmp(frame->place, 1);
}

/* RtlCaptureContext of 32 bits wants a frame pointer, which its caller may not
 * have. */
#define GUARD_MARK(frame) ((void)__builtin_setjmp((frame)->place))

static void
guard_resume(CONTEXT *context, const guard_frame *Py_UNUSED(frame))
{
    context->Eip = (DWORD)(uintptr_t)guard_land;
    /* As after a call: the return address lies below a multiple of 16. */
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

/* Runs twice past GUARD_MARK when the work faults. Nothing here may
 * live only in a register or a reused stack slot: `frame` is the caller's,
 * and it is used after the work as well, which keeps it alive across it. */
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
