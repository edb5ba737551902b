/* regions.c: the address space of a RemoteProcess.
 *
 *     for region in process.regions(paths=True):
 *         print(region.base, region.size, region.path)
 *     with process.alloc(4096) as block:
 *         with process.protect(block.address, 4096, PAGE_READONLY):
 *             ...
 *
 * Owner: nobody here; RemoteBlock frees what it allocates. Thread: any. GIL: given
 * up for each call. Methods of RemoteProcess: process.c has their docs. */
#include "base/handles.h"
#include "base/nt.h"
#include "process.h"

#define REGIONS_AT_ONCE 256

PyObject *
wi_process_regions(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t start, stop;
    Py_ssize_t wanted;
    MEMORY_BASIC_INFORMATION *found = NULL;
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "O&O&n:_regions", wi_address_converter, &start,
                          wi_address_converter, &stop, &wanted)) {
        return NULL;
    }
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    if (wanted < 1 || wanted > REGIONS_AT_ONCE) {
        wanted = REGIONS_AT_ONCE;
    }
    found = PyMem_Malloc((size_t)wanted * sizeof(*found));
    if (found == NULL) {
        return PyErr_NoMemory();
    }
    Py_ssize_t count = 0;
    DWORD err = 0;
    wi_target target = wi_process_pin(self);
    Py_BEGIN_ALLOW_THREADS
    uintptr_t address = start;
    while (count < wanted && address < stop) {
        if (!wi_remote_query(target.handle, address, &found[count])) {
            err = GetLastError();
            break;
        }
        uintptr_t end =
            (uintptr_t)found[count].BaseAddress + found[count].RegionSize;
        count++;
        if (end <= address) {
            break; /* the top of the address space */
        }
        address = end;
    }
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    /* ERROR_INVALID_PARAMETER (87): beyond the address space. */
    if (count == 0 && err != 0 &&
        (err != ERROR_INVALID_PARAMETER || wi_process_gone(self, 0))) {
        wi_process_raise(self, err, "VirtualQueryEx",
                         PROCESS_QUERY_INFORMATION);
        goto done;
    }
    result = PyList_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        const MEMORY_BASIC_INFORMATION *region = &found[i];
        PyObject *row = Py_BuildValue(
            "(KKkkkKk)", (unsigned long long)(uintptr_t)region->BaseAddress,
            (unsigned long long)region->RegionSize, region->State,
            region->Protect, region->Type,
            (unsigned long long)(uintptr_t)region->AllocationBase,
            region->AllocationProtect);
        if (row == NULL || PyList_SetItem(result, i, row) < 0) {
            Py_CLEAR(result);
        }
    }
done:
    PyMem_Free(found);
    return result;
}

PyObject *
wi_process_mapped_name(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    wi_ntstatus status;
    const size_t room = sizeof(wi_unicode_string) + 2 * WI_PATH_ROOM;
    if (!PyArg_ParseTuple(args, "O&:_mapped_name", wi_address_converter,
                          &address)) {
        return NULL;
    }
    /* GetMappedFileName has a buffer of fixed size inside. */
    wi_unicode_string *name = PyMem_Malloc(room);
    if (name == NULL) {
        return PyErr_NoMemory();
    }
    if (wi_process_check_open(self) < 0) {
        PyMem_Free(name);
        return NULL;
    }
    HANDLE handle = wi_process_pin(self).handle;
    Py_BEGIN_ALLOW_THREADS
    status = NtQueryVirtualMemory(handle, (void *)address, WI_MAPPED_FILE_NAME,
                                  name, room, NULL);
    Py_END_ALLOW_THREADS
    wi_process_unpin(self);
    PyObject *result = NULL;
    if (!WI_NT_SUCCESS(status)) { /* private memory, or no file */
        result = Py_NewRef(Py_None);
    }
    else {
        result = PyUnicode_FromWideChar(
            name->buffer, (Py_ssize_t)(name->length / sizeof(wchar_t)));
    }
    PyMem_Free(name);
    return result;
}

/* Make a call that changes the layout of an open process's memory. */
static int
regions_call(wi_process *self, wi_vm_call *call, const char *api)
{
    DWORD err;
    uintptr_t result;
    call->process = wi_process_pin(self).handle;
    WI_CALL(err, result = wi_remote_vm(call));
    wi_process_unpin(self);
    /* The layout has changed, of more than `size` where that is 0 (all). */
    wi_process_changed(self, call->address, SIZE_MAX);
    if (result == 0) {
        wi_process_raise(self, err, api, PROCESS_VM_OPERATION);
        return -1;
    }
    return 0;
}

PyObject *
wi_process_protect(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD protection;
    if (!PyArg_ParseTuple(args, "O&nO&:_protect", wi_address_converter,
                          &address, &size, wi_u32_converter, &protection)) {
        return NULL;
    }
    if (size < 1) {
        PyErr_SetString(PyExc_ValueError, "size must be >= 1");
        return NULL;
    }
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    wi_vm_call call = {.kind = WI_VM_PROTECT,
                       .address = address,
                       .size = (size_t)size,
                       .protection = protection};
    if (regions_call(self, &call, "VirtualProtectEx") < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLong(call.protection);
}

PyObject *
wi_process_alloc(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD type, protection;
    if (!PyArg_ParseTuple(args, "O&nO&O&:_alloc", wi_address_converter,
                          &address, &size, wi_u32_converter, &type,
                          wi_u32_converter, &protection)) {
        return NULL;
    }
    if (size < 1) {
        PyErr_SetString(PyExc_ValueError, "size must be >= 1");
        return NULL;
    }
    if (wi_process_check_open(self) < 0) {
        return NULL;
    }
    wi_vm_call call = {.kind = WI_VM_ALLOC,
                       .address = address,
                       .size = (size_t)size,
                       .type = type,
                       .protection = protection};
    if (regions_call(self, &call, "VirtualAllocEx") < 0) {
        return NULL;
    }
    return PyLong_FromSize_t(call.result);
}

PyObject *
wi_process_free(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD type;
    if (!PyArg_ParseTuple(args, "O&nO&:_free", wi_address_converter, &address,
                          &size, wi_u32_converter, &type) ||
        wi_process_check_open(self) < 0) {
        return NULL;
    }
    wi_vm_call call = {.kind = WI_VM_FREE,
                       .address = address,
                       .size = (size_t)size,
                       .type = type};
    if (regions_call(self, &call, "VirtualFreeEx") < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}
