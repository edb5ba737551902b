/* modules.c: modules and threads of a process, and the list of processes.
 *
 *     for module in process.modules():
 *         print(module.name, hex(module.base), module.path)
 *     print(process.threads())
 *     print(winipc.processes())
 *
 * Owner: nothing here is owned. Thread: any. GIL: given up to take a snapshot
 * of threads or processes, to list modules, and for each module. */
#include "base/handles.h"
#include "process.h"

#include <psapi.h>
#include <tlhelp32.h>

/* The most modules: a hostile target's list may run in a circle. */
#define MODULES_MOST 16384

/* How often to try again, 10 ms apart, with a target that has just started. */
#define MODULES_TRIES 10

/* ---------------------------------------------------------------- modules */

/* (path, base, size, entry point) of one module. If the module was unloaded
 * meanwhile, or the target dies, *missed is counted up; the path is empty, or
 * the result is NULL without an exception. */
static PyObject *
modules_row(HANDLE process, HMODULE module, wchar_t *path, int *missed)
{
    MODULEINFO info = {NULL, 0, NULL};
    DWORD length = 0;
    BOOL known;
    Py_BEGIN_ALLOW_THREADS /* each walks the target's list up to the module */
    known = K32GetModuleInformation(process, module, &info, sizeof(info));
    if (known) {
        length = K32GetModuleFileNameExW(process, module, path, WI_PATH_ROOM);
    }
    Py_END_ALLOW_THREADS
    *missed += length == 0;
    if (!known) {
        return NULL;
    }
    PyObject *name = PyUnicode_FromWideChar(path, (Py_ssize_t)length);
    if (name == NULL) {
        return NULL;
    }
    return Py_BuildValue("(NKKK)", name,
                         (unsigned long long)(uintptr_t)info.lpBaseOfDll,
                         (unsigned long long)info.SizeOfImage,
                         (unsigned long long)(uintptr_t)info.EntryPoint);
}

/* EnumProcessModulesEx; how many were found, or 0 with *err. A 32-bit target
 * on 64-bit Windows has a 64-bit ntdll as well, which is not its own. */
static DWORD
modules_list(HANDLE process, HMODULE *found, DWORD *err)
{
    const DWORD room = MODULES_MOST * sizeof(*found);
    DWORD needed = 0;
    BOOL wow64 = FALSE;
    (void)IsWow64Process(process, &wow64);
    DWORD kind = wow64 ? LIST_MODULES_32BIT : LIST_MODULES_ALL;
    for (int tries = 0;; tries++) {
        if (K32EnumProcessModulesEx(process, found, room, &needed, kind)) {
            *err = 0;
            return (needed < room ? needed : room) / sizeof(*found);
        }
        *err = GetLastError();
        /* ERROR_PARTIAL_COPY (299): the target has only just started. */
        if (*err != ERROR_PARTIAL_COPY || tries == MODULES_TRIES) {
            return 0;
        }
        Sleep(10);
    }
}

PyObject *
wi_process_modules(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    PyObject *rows = NULL;
    DWORD err, count;
    int missed = 0;
    HMODULE *found = PyMem_Malloc(MODULES_MOST * sizeof(*found));
    wchar_t *path = PyMem_Malloc(WI_PATH_ROOM * sizeof(*path));
    if (found == NULL || path == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    if (wi_check_open(self, self->handle) < 0) {
        goto done;
    }
    /* Pinned: making a row may start a collection, which may run any code. */
    HANDLE handle = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    count = modules_list(handle, found, &err);
    Py_END_ALLOW_THREADS
    if (err == 0) {
        rows = PyList_New(0);
    }
    for (DWORD i = 0; rows != NULL && i < count; i++) {
        PyObject *row = modules_row(handle, found[i], path, &missed);
        if (row != NULL || PyErr_Occurred()) {
            wi_append(&rows, row);
        }
    }
    if (rows != NULL && (missed > 0 || count == 0) &&
        wi_process_gone(self, WI_DYING_MS)) {
        err = ERROR_ACCESS_DENIED; /* a part of the list would mislead */
        Py_CLEAR(rows);
    }
    if (rows == NULL && !PyErr_Occurred()) {
        wi_process_raise(self, err, "EnumProcessModulesEx",
                         PROCESS_VM_READ | PROCESS_QUERY_INFORMATION);
    }
    wi_process_unpin(self);
done:
    PyMem_Free(path);
    PyMem_Free(found);
    return rows;
}

/* ---------------------------------------------------------------- threads */

PyObject *
wi_process_threads(PyObject *op, PyObject *Py_UNUSED(unused))
{
    wi_process *self = (wi_process *)op;
    HANDLE snapshot;
    DWORD err;
    if (wi_check_open(self, self->handle) < 0) {
        return NULL;
    }
    wi_process_pin(self);
    PyObject *rows = NULL;
    WI_CALL(err, snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0));
    if (snapshot == INVALID_HANDLE_VALUE) {
        wi_process_raise(self, err, "CreateToolhelp32Snapshot", 0);
        goto done;
    }
    rows = PyList_New(0);
    THREADENTRY32 entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Thread32First(snapshot, &entry); more && rows != NULL;
         more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID == self->pid) {
            wi_append(&rows, Py_BuildValue("(kl)", entry.th32ThreadID,
                                           entry.tpBasePri));
        }
    }
    CloseHandle(snapshot);
    if (rows != NULL && PyList_Size(rows) == 0 && wi_process_gone(self, 0)) {
        Py_CLEAR(rows);
        wi_process_raise(self, ERROR_INVALID_PARAMETER,
                         "CreateToolhelp32Snapshot", 0);
    }
done:
    wi_process_unpin(self);
    return rows;
}

/* -------------------------------------------------------------- processes */

static PyObject *
modules_processes(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    HANDLE snapshot;
    DWORD err;
    WI_CALL(err, snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0));
    if (snapshot == INVALID_HANDLE_VALUE) {
        return wi_raise_format(err, "CreateToolhelp32Snapshot",
                               "all processes");
    }
    PyObject *rows = PyList_New(0);
    PROCESSENTRY32W entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Process32FirstW(snapshot, &entry); more && rows != NULL;
         more = Process32NextW(snapshot, &entry)) {
        wi_append(&rows,
                  Py_BuildValue("(kukk)", entry.th32ProcessID, entry.szExeFile,
                                entry.th32ParentProcessID, entry.cntThreads));
    }
    CloseHandle(snapshot);
    return rows;
}

static PyObject *
modules_dos_devices(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused))
{
    wchar_t drive[] = L"A:";
    wchar_t *device = PyMem_Malloc(WI_PATH_ROOM * sizeof(*device));
    if (device == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *rows = PyList_New(0);
    for (; rows != NULL && drive[0] <= L'Z'; drive[0]++) {
        /* Several names, each with its NUL; the first one is current. */
        if (QueryDosDeviceW(drive, device, WI_PATH_ROOM) != 0) {
            wi_append(&rows, Py_BuildValue("(uu)", drive, device));
        }
    }
    PyMem_Free(device);
    return rows;
}

static PyMethodDef modules_functions[] = {
    {"_processes", modules_processes, METH_NOARGS,
     PyDoc_STR("_processes($module, /)\n--\n\n"
               "(pid, name, parent's pid, number of threads) of each\n"
               "process.\n\n"
               "Win32: CreateToolhelp32Snapshot, Process32FirstW")},
    {"_dos_devices", modules_dos_devices, METH_NOARGS,
     PyDoc_STR("_dos_devices($module, /)\n--\n\n"
               "(\"C:\", device) of each drive.\n\n"
               "Win32: QueryDosDeviceW")},
    {NULL, NULL, 0, NULL},
};

int
wi_modules_init(PyObject *module, wi_state *Py_UNUSED(state))
{
    return PyModule_AddFunctions(module, modules_functions);
}
