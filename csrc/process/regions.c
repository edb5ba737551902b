/* regions.c: the address space of a RemoteProcess.
 *
 * Wraps VirtualQueryEx, VirtualProtectEx, VirtualAllocEx, VirtualFreeEx and
 * GetMappedFileName. Methods of RemoteProcess: process.c has their docs. */
#include "process.h"

#include <psapi.h>

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
    if (count == 0 && err != 0 && err != ERROR_INVALID_PARAMETER) {
        wi_process_raise(self, err, "VirtualQueryEx",
                         PROCESS_QUERY_INFORMATION);
        goto done;
    }
    if (count == 0 && err != 0 && wi_process_gone(self, 0)) {
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
    wchar_t name[1024];
    DWORD length, err;
    if (!PyArg_ParseTuple(args, "O&:_mapped_name", wi_address_converter,
                          &address) ||
        wi_process_check_open(self) < 0) {
        return NULL;
    }
    wi_target target = wi_process_pin(self);
    WI_CALL(err, length = K32GetMappedFileNameW(target.handle, (void *)address,
                                                name,
                                                (DWORD)Py_ARRAY_LENGTH(name)));
    wi_process_unpin(self);
    if (length == 0) {
        WI_UNUSED(err); /* private memory, or a section without a file */
        Py_RETURN_NONE;
    }
    /* Some systems count the NUL. */
    for (DWORD i = 0; i < length; i++) {
        if (name[i] == L'\0') {
            length = i;
        }
    }
    return PyUnicode_FromWideChar(name, (Py_ssize_t)length);
}

PyObject *
wi_process_protect(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD protection, old = 0, err;
    BOOL ok;
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
    wi_target target = wi_process_pin(self);
    WI_CALL(err, ok = wi_remote_protect(target.handle, address, (size_t)size,
                                        protection, &old));
    wi_process_unpin(self);
    wi_process_changed(self, address, (size_t)size);
    if (!ok) {
        return wi_process_raise(self, err, "VirtualProtectEx",
                                PROCESS_VM_OPERATION);
    }
    return PyLong_FromUnsignedLong(old);
}

PyObject *
wi_process_alloc(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD type, protection, err;
    void *block;
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
    wi_target target = wi_process_pin(self);
    WI_CALL(err, block = wi_remote_alloc(target.handle, address, (size_t)size,
                                         type, protection));
    wi_process_unpin(self);
    wi_process_changed(self, (uintptr_t)block, (size_t)size);
    if (block == NULL) {
        return wi_process_raise(self, err, "VirtualAllocEx",
                                PROCESS_VM_OPERATION);
    }
    return PyLong_FromVoidPtr(block);
}

PyObject *
wi_process_free(PyObject *op, PyObject *args)
{
    wi_process *self = (wi_process *)op;
    uintptr_t address;
    Py_ssize_t size;
    DWORD type, err;
    BOOL ok;
    if (!PyArg_ParseTuple(args, "O&nO&:_free", wi_address_converter, &address,
                          &size, wi_u32_converter, &type) ||
        wi_process_check_open(self) < 0) {
        return NULL;
    }
    wi_target target = wi_process_pin(self);
    WI_CALL(err,
            ok = wi_remote_free(target.handle, address, (size_t)size, type));
    wi_process_unpin(self);
    wi_process_changed(self, address, SIZE_MAX); /* size may be 0: all */
    if (!ok) {
        return wi_process_raise(self, err, "VirtualFreeEx",
                                PROCESS_VM_OPERATION);
    }
    Py_RETURN_NONE;
}
