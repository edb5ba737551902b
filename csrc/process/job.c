/* job.c: Job, processes that end together.
 *
 *     job = _core.Job._create()
 *     job.start(pid)      # created with CREATE_SUSPENDED; what it starts joins
 *     job.active          # how many run
 *     job.terminate(1)    # ends them all
 *     job.close()         # and so does this, and the death of this process
 *
 * Owner: the object owns its handle, which no process inherits. When the last
 * handle of a job is closed, Windows ends the processes. Thread: any. GIL:
 * kept, as no call waits. */
#include "base/handles.h"

#include <tlhelp32.h>

typedef struct {
    PyObject_HEAD
    HANDLE handle; /* NULL once closed */
} JobObject;

static PyObject *
job_raise(DWORD err, const char *api)
{
    return wi_raise_format(err, api, "a job");
}

static DWORD
job_release(JobObject *self)
{
    HANDLE handle = self->handle;
    self->handle = NULL;
    return handle == NULL || CloseHandle(handle) ? 0 : GetLastError();
}

static void
job_finalize(PyObject *op)
{
    JobObject *self = (JobObject *)op;
    if (self->handle == NULL) {
        return;
    }
    WI_KEEP_ERROR
    wi_warn_unclosed(op);
    job_release(self);
    WI_END_KEEP_ERROR
}

/* ------------------------------------------------------------ constructor */

static PyObject *
job_create(PyObject *cls, PyObject *Py_UNUSED(unused))
{
    JobObject *self = wi_alloc((PyTypeObject *)cls);
    if (self == NULL) {
        return NULL;
    }
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    limits.BasicLimitInformation.LimitFlags =
        JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    const char *api = "CreateJobObjectW";
    BOOL ok;
    DWORD err;
    WI_CALL_GIL(err, self->handle = CreateJobObjectW(NULL, NULL));
    if (self->handle != NULL) {
        api = "SetInformationJobObject";
        WI_CALL_GIL(err, ok = SetInformationJobObject(
                             self->handle, JobObjectExtendedLimitInformation,
                             &limits, sizeof(limits)));
        if (ok) {
            return (PyObject *)self;
        }
        job_release(self);
    }
    Py_DECREF((PyObject *)self);
    return job_raise(err, api);
}

/* ---------------------------------------------------------------- methods */

/* Resume all threads of a process. One made with CREATE_SUSPENDED has only its
 * first thread. 0, or a Win32 error. */
static DWORD
job_resume(DWORD pid)
{
    HANDLE snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0);
    if (snapshot == INVALID_HANDLE_VALUE) {
        return GetLastError();
    }
    DWORD err = ERROR_NOT_FOUND;
    THREADENTRY32 entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Thread32First(snapshot, &entry); more;
         more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID != pid) {
            continue;
        }
        HANDLE thread =
            OpenThread(THREAD_SUSPEND_RESUME, FALSE, entry.th32ThreadID);
        BOOL ok = thread != NULL && ResumeThread(thread) != (DWORD)-1;
        err = ok ? 0 : GetLastError();
        if (thread != NULL) {
            CloseHandle(thread);
        }
        if (!ok) {
            break;
        }
    }
    CloseHandle(snapshot);
    return err;
}

PyDoc_STRVAR(job_start_doc,
             "start($self, pid, /)\n--\n\n"
             "Add a process that was created suspended, and let it run.\n\n"
             "Raises:\n"
             "    ProcessLookupError: There is no such process.\n"
             "    OSError: The process cannot be added or resumed.\n"
             "    ValueError: The job is closed.\n\n"
             "Win32: OpenProcess, AssignProcessToJobObject, ResumeThread");

static PyObject *
job_start(PyObject *op, PyObject *value)
{
    JobObject *self = (JobObject *)op;
    DWORD pid, err;
    BOOL ok;
    if (!wi_u32_converter(value, &pid) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    HANDLE process =
        wi_open_process(PROCESS_SET_QUOTA | PROCESS_TERMINATE, pid);
    if (process == NULL) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = AssignProcessToJobObject(self->handle, process));
    CloseHandle(process);
    if (!ok) {
        return wi_raise_format(err, "AssignProcessToJobObject", "pid %lu",
                               pid);
    }
    err = job_resume(pid);
    if (err != 0) {
        return wi_raise_format(err, "ResumeThread", "pid %lu", pid);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(job_terminate_doc,
             "terminate($self, exit_code, /)\n--\n\n"
             "End all its processes; they are gone when `active` is 0.\n\n"
             "Raises:\n"
             "    OSError: Windows cannot end them.\n"
             "    ValueError: The job is closed.\n\n"
             "Win32: TerminateJobObject");

static PyObject *
job_terminate(PyObject *op, PyObject *value)
{
    JobObject *self = (JobObject *)op;
    DWORD exit_code, err;
    BOOL ok;
    if (!wi_u32_converter(value, &exit_code) ||
        wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = TerminateJobObject(self->handle, exit_code));
    if (!ok) {
        return job_raise(err, "TerminateJobObject");
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(job_close_doc, "close($self, /)\n--\n\n"
                            "End all its processes; more calls do nothing.\n\n"
                            "Win32: CloseHandle");

static PyObject *
job_close(PyObject *op, PyObject *Py_UNUSED(unused))
{
    DWORD err = job_release((JobObject *)op);
    if (err != 0) {
        return job_raise(err, "CloseHandle");
    }
    Py_RETURN_NONE;
}

static PyObject *
job_get_active(PyObject *op, void *Py_UNUSED(closure))
{
    JobObject *self = (JobObject *)op;
    JOBOBJECT_BASIC_ACCOUNTING_INFORMATION counts;
    DWORD err;
    BOOL ok;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    WI_CALL_GIL(err, ok = QueryInformationJobObject(
                         self->handle, JobObjectBasicAccountingInformation,
                         &counts, sizeof(counts), NULL));
    return ok ? PyLong_FromUnsignedLong(counts.ActiveProcesses)
              : job_raise(err, "QueryInformationJobObject");
}

static PyMethodDef job_methods[] = {
    {"_create", job_create, METH_NOARGS | METH_CLASS,
     PyDoc_STR("_create($type, /)\n--\n\n"
               "Win32: CreateJobObjectW, SetInformationJobObject")},
    {"start", job_start, METH_O, job_start_doc},
    {"terminate", job_terminate, METH_O, job_terminate_doc},
    {"close", job_close, METH_NOARGS, job_close_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef job_getset[] = {
    {"closed", wi_get_closed, NULL,
     PyDoc_STR("Whether the handle has been closed."),
     (void *)offsetof(JobObject, handle)},
    {"active", job_get_active, NULL,
     PyDoc_STR("How many of its processes have not ended."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(job_doc, "Processes that end together.");

static PyType_Slot job_slots[] = {
    {Py_tp_doc, (void *)job_doc},
    {Py_tp_new, wi_no_new},
    {Py_tp_finalize, job_finalize},
    {Py_tp_traverse, wi_traverse},
    {Py_tp_methods, job_methods},
    {Py_tp_getset, job_getset},
    {0, NULL},
};

static PyType_Spec job_spec = {
    .name = "winipc._core.Job",
    .basicsize = sizeof(JobObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = job_slots,
};

int
wi_job_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return wi_add_type(module, &job_spec, NULL);
}
