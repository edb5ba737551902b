/* modules.c: modules and threads of a process, and the list of processes.
 *
 * Wraps EnumProcessModulesEx and the toolhelp snapshots. */
#include "base/handles.h"
#include "process.h"

#include <psapi.h>
#include <tlhelp32.h>

/* A hostile target's list may run in a circle. */
#define MODULES_MOST 16384

/* ---------------------------------------------------------------- modules */

/* NULL without an exception, or a name that is empty, and *missed grows, when
 * it was unloaded meanwhile or the target dies. */
static PyObject *
modules_row(wi_process *self, HMODULE module, int *missed)
{
    MODULEINFO info = {NULL, 0, NULL};
    wchar_t path[2048];
    if (!K32GetModuleInformation(self->handle, module, &info, sizeof(info))) {
        ++*missed;
        return NULL;
    }
    DWORD length = K32GetModuleFileNameExW(self->handle, module, path,
                                           (DWORD)Py_ARRAY_LENGTH(path));
    *missed += length == 0;
    PyObject *name = PyUnicode_FromWideChar(path, (Py_ssize_t)length);
    if (name == NULL) {
        return NULL;
    }
    return Py_BuildValue("(NKKK)", name,
                         (unsigned long long)(uintptr_t)info.lpBaseOfDll,
                         (unsigned long long)info.SizeOfImage,
                         (unsigned long long)(uintptr_t)info.EntryPoint);
}

static PyObject *
modules_by_psapi(wi_process *self, DWORD *err)
{
    PyObject *rows = NULL;
    DWORD needed = 0, room = 256 * sizeof(HMODULE);
    HMODULE *found = NULL;
    for (;;) {
        BOOL ok;
        PyMem_Free(found);
        found = PyMem_Malloc(room);
        if (found == NULL) {
            return PyErr_NoMemory();
        }
        self->pins++;
        HANDLE handle = self->handle;
        WI_CALL(*err, ok = K32EnumProcessModulesEx(handle, found, room,
                                                   &needed, LIST_MODULES_ALL));
        self->pins--;
        if (!ok) {
            goto done;
        }
        if (needed <= room || room >= MODULES_MOST * sizeof(HMODULE)) {
            break;
        }
        room = needed + 16 * sizeof(HMODULE);
        if (room > MODULES_MOST * sizeof(HMODULE)) {
            room = MODULES_MOST * sizeof(HMODULE);
        }
    }
    *err = 0;
    rows = PyList_New(0);
    self->pins++; /* a row may set off a collection, and that anything */
    DWORD count = (needed < room ? needed : room) / sizeof(HMODULE);
    int missed = 0;
    for (DWORD i = 0; rows != NULL && i < count; i++) {
        PyObject *row = modules_row(self, found[i], &missed);
        if (row == NULL && !PyErr_Occurred()) {
            continue;
        }
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    if (rows != NULL && (missed > 0 || count == 0) &&
        wi_process_gone(self, WI_DYING_MS)) {
        *err = ERROR_ACCESS_DENIED; /* part of a list would mislead */
        Py_CLEAR(rows);
    }
    self->pins--;
done:
    PyMem_Free(found);
    return rows;
}

static PyObject *
modules_by_toolhelp(wi_process *self, DWORD *err)
{
    HANDLE snapshot;
    DWORD pid = self->pid;
    int tries = 0;
    do {
        /* 24 says that the list changed while it was copied. */
        WI_CALL(*err, snapshot = CreateToolhelp32Snapshot(
                          TH32CS_SNAPMODULE | TH32CS_SNAPMODULE32, pid));
    } while (snapshot == INVALID_HANDLE_VALUE && *err == ERROR_BAD_LENGTH &&
             ++tries < 50);
    if (snapshot == INVALID_HANDLE_VALUE) {
        return NULL;
    }
    *err = 0;
    PyObject *rows = PyList_New(0);
    MODULEENTRY32W entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Module32FirstW(snapshot, &entry); more && rows != NULL;
         more = Module32NextW(snapshot, &entry)) {
        PyObject *row =
            Py_BuildValue("(uKKK)", entry.szExePath,
                          (unsigned long long)(uintptr_t)entry.modBaseAddr,
                          (unsigned long long)entry.modBaseSize, 0ULL);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    CloseHandle(snapshot);
    return rows;
}

PyObject *
wi_process_modules(PyObject *op, PyObject *unused)
{
    wi_process *self = (wi_process *)op;
    DWORD err = 0, ignored;
    WI_UNUSED(unused);
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    PyObject *rows = modules_by_psapi(self, &err);
    if (rows == NULL && !PyErr_Occurred() && err == ERROR_PARTIAL_COPY) {
        /* A process that has just started has no list of its own yet. */
        rows = modules_by_toolhelp(self, &ignored);
    }
    if (rows == NULL && !PyErr_Occurred()) {
        wi_process_raise(self, err, "EnumProcessModulesEx",
                         PROCESS_VM_READ | PROCESS_QUERY_INFORMATION);
    }
    return rows;
}

/* ---------------------------------------------------------------- threads */

PyObject *
wi_process_threads(PyObject *op, PyObject *unused)
{
    wi_process *self = (wi_process *)op;
    HANDLE snapshot;
    DWORD err;
    WI_UNUSED(unused);
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    WI_CALL(err, snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0));
    if (snapshot == INVALID_HANDLE_VALUE) {
        return wi_process_raise(self, err, "CreateToolhelp32Snapshot", 0);
    }
    PyObject *rows = PyList_New(0);
    THREADENTRY32 entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Thread32First(snapshot, &entry); more && rows != NULL;
         more = Thread32Next(snapshot, &entry)) {
        if (entry.th32OwnerProcessID != self->pid) {
            continue;
        }
        PyObject *row =
            Py_BuildValue("(kl)", entry.th32ThreadID, entry.tpBasePri);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    CloseHandle(snapshot);
    if (rows != NULL && PyList_Size(rows) == 0 && self->handle != NULL &&
        wi_process_gone(self, 0)) {
        Py_DECREF(rows);
        return wi_process_raise(self, ERROR_INVALID_PARAMETER,
                                "CreateToolhelp32Snapshot", 0);
    }
    return rows;
}

/* -------------------------------------------------------------- processes */

static PyObject *
modules_processes(PyObject *module, PyObject *unused)
{
    HANDLE snapshot;
    DWORD err;
    WI_UNUSED(module);
    WI_UNUSED(unused);
    WI_CALL(err, snapshot = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0));
    if (snapshot == INVALID_HANDLE_VALUE) {
        PyObject *label = PyUnicode_FromString("all processes");
        if (label != NULL) {
            wi_raise(err, "CreateToolhelp32Snapshot", label);
            Py_DECREF(label);
        }
        return NULL;
    }
    PyObject *rows = PyList_New(0);
    PROCESSENTRY32W entry;
    entry.dwSize = sizeof(entry);
    for (BOOL more = Process32FirstW(snapshot, &entry); more && rows != NULL;
         more = Process32NextW(snapshot, &entry)) {
        PyObject *row =
            Py_BuildValue("(kukk)", entry.th32ProcessID, entry.szExeFile,
                          entry.th32ParentProcessID, entry.cntThreads);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    CloseHandle(snapshot);
    return rows;
}

static PyObject *
modules_dos_devices(PyObject *module, PyObject *unused)
{
    wchar_t drive[] = L"A:", device[512];
    WI_UNUSED(module);
    WI_UNUSED(unused);
    PyObject *rows = PyList_New(0);
    for (; rows != NULL && drive[0] <= L'Z'; drive[0]++) {
        /* Several names, each with its NUL: the first one counts. */
        if (QueryDosDeviceW(drive, device, (DWORD)Py_ARRAY_LENGTH(device)) ==
            0) {
            continue;
        }
        PyObject *row = Py_BuildValue("(uu)", drive, device);
        if (row == NULL || PyList_Append(rows, row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(row);
    }
    return rows;
}

static PyMethodDef modules_functions[] = {
    {"_processes", modules_processes, METH_NOARGS,
     PyDoc_STR("_processes($module, /)\n--\n\n"
               "All processes: pid, name, parent's pid, number of threads.")},
    {"_dos_devices", modules_dos_devices, METH_NOARGS,
     PyDoc_STR("_dos_devices($module, /)\n--\n\n"
               "Drives and the devices that they stand for.")},
    {NULL, NULL, 0, NULL},
};

int
wi_process_add_functions(PyObject *module)
{
    return PyModule_AddFunctions(module, modules_functions);
}
