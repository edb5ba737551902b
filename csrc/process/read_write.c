/* read_write.c: read and write the memory of another process, in plain C.
 *
 * Wraps ReadProcessMemory, WriteProcessMemory and VirtualQueryEx. Nothing here
 * uses Python; any thread may call, without the GIL.
 *
 * ReadProcessMemory fails as a whole if a part of the range cannot be read,
 * and how much it has copied by then depends on the size of its inner buffer.
 * So wi_remote_read_mask() reads region by region, and page by page where a
 * region fails because the target has changed it meanwhile. */
#include "process.h"

/* ----------------------------------------------------- what is readable */

BOOL
wi_region_readable(const MEMORY_BASIC_INFORMATION *region)
{
    /* Touching a guard page would disarm the target's guard. */
    return region->State == MEM_COMMIT && region->Protect != 0 &&
           !(region->Protect & (PAGE_GUARD | PAGE_NOACCESS));
}

BOOL
wi_region_writable(const MEMORY_BASIC_INFORMATION *region)
{
    /* WriteProcessMemory itself lifts the protection of code, but not that of
     * read-only data. */
    return wi_region_readable(region) &&
           (region->Protect & 0xff) != PAGE_READONLY;
}

size_t
wi_page_count(uintptr_t address, size_t size)
{
    if (size == 0) {
        return 0;
    }
    return (size_t)((address % WI_PAGE + (size - 1)) / WI_PAGE + 1);
}

/* Ask VirtualQueryEx whether all of the range may be read (or written): 0 or
 * ERROR_NOACCESS, or `unasked` if it cannot be asked. */
static DWORD
remote_check(HANDLE target, uintptr_t address, size_t size, BOOL write,
             DWORD unasked)
{
    uintptr_t last = address + (size - 1);
    const BOOL wine = wi_reads_ignore_protection();
    if (wine && wi_wine_recalls(target, address, last, write)) {
        return 0;
    }
    for (;;) {
        MEMORY_BASIC_INFORMATION region;
        if (!wi_remote_query(target, address, &region)) {
            /* ERROR_INVALID_PARAMETER (87): beyond the address space. */
            return GetLastError() == ERROR_INVALID_PARAMETER ? ERROR_NOACCESS
                                                             : unasked;
        }
        if (!(write ? wi_region_writable(&region)
                    : wi_region_readable(&region))) {
            return ERROR_NOACCESS;
        }
        if (wine) {
            wi_wine_remember(target, &region);
        }
        uintptr_t region_last =
            (uintptr_t)region.BaseAddress + (region.RegionSize - 1);
        if (region_last >= last || region_last < address) {
            return 0;
        }
        address = region_last + 1;
    }
}

BOOL
wi_remote_may_read(HANDLE target, uintptr_t address, size_t size)
{
    return size > 0 && size - 1 <= UINTPTR_MAX - address &&
           remote_check(target, address, size, FALSE, ERROR_NOACCESS) == 0;
}

/* ---------------------------------------------------------------- reading */

static DWORD
remote_read_plain(HANDLE target, uintptr_t address, void *buffer, size_t size)
{
    SIZE_T done = 0;
    if (ReadProcessMemory(target, (const void *)address, buffer, size,
                          &done) &&
        done == size) {
        return 0;
    }
    DWORD err = GetLastError();
    return err ? err : ERROR_PARTIAL_COPY;
}

BOOL
wi_remote_asks(HANDLE target, uintptr_t address, size_t size, BOOL write)
{
    if (size == 0 || size - 1 > UINTPTR_MAX - address) {
        return FALSE;
    }
    if (!wi_reads_ignore_protection()) {
        /* Within one page it is all or nothing anyway. */
        return write && wi_page_count(address, size) > 1;
    }
    return !wi_wine_recalls(target, address, address + (size - 1), write);
}

DWORD
wi_remote_read_unasked(HANDLE target, uintptr_t address, void *buffer,
                       size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (size - 1 > UINTPTR_MAX - address) {
        return ERROR_NOACCESS;
    }
    DWORD err = remote_read_plain(target, address, buffer, size);
    if (wi_reads_ignore_protection()) {
        wi_wine_accessed(target);
    }
    return err;
}

DWORD
wi_remote_read(HANDLE target, uintptr_t address, void *buffer, size_t size)
{
    if (wi_remote_asks(target, address, size, FALSE)) {
        /* Without the right to ask, the read itself decides. */
        DWORD err = remote_check(target, address, size, FALSE, 0);
        if (err) {
            return err;
        }
    }
    return wi_remote_read_unasked(target, address, buffer, size);
}

/* Read a stretch that should be readable: at once, or page by page if that
 * fails. */
static size_t
remote_read_stretch(HANDLE target, uintptr_t address, char *buffer,
                    size_t size, unsigned char *mask, DWORD *err)
{
    *err = remote_read_plain(target, address, buffer, size);
    if (*err == 0) {
        memset(mask, 1, wi_page_count(address, size));
        return size;
    }
    size_t total = 0;
    while (size > 0) {
        size_t part = (size_t)(WI_PAGE - address % WI_PAGE);
        if (part > size) {
            part = size;
        }
        if (remote_read_plain(target, address, buffer, part) == 0) {
            *mask = 1;
            total += part;
        }
        else {
            memset(buffer, 0, part);
        }
        address += part;
        buffer += part;
        size -= part;
        mask++;
    }
    return total;
}

size_t
wi_remote_read_mask(HANDLE target, uintptr_t address, void *buffer,
                    size_t size, unsigned char *mask, DWORD *err)
{
    size_t total = 0;
    char *to = buffer;
    *err = 0;
    memset(mask, 0, wi_page_count(address, size));
    memset(buffer, 0, size);
    if (size > 0 && size - 1 > UINTPTR_MAX - address) {
        /* The range wraps around: only the part up to the top exists. */
        size = (size_t)(UINTPTR_MAX - address) + 1;
    }
    while (size > 0) {
        MEMORY_BASIC_INFORMATION region;
        size_t part;
        BOOL readable;
        if (!wi_remote_query(target, address, &region)) {
            *err = GetLastError();
            if (*err != ERROR_ACCESS_DENIED) {
                break; /* beyond the address space, or the target is gone */
            }
            part = size; /* the handle lacks the right to ask: try to read */
            readable = TRUE;
        }
        else {
            uintptr_t used = address - (uintptr_t)region.BaseAddress;
            part = region.RegionSize - used;
            if (used >= region.RegionSize || part > size) {
                part = size;
            }
            readable = wi_region_readable(&region);
        }
        if (readable) {
            total += remote_read_stretch(target, address, to, part, mask, err);
        }
        mask += (address % WI_PAGE + part) / WI_PAGE;
        address += part;
        to += part;
        size -= part;
    }
    return total;
}

/* ---------------------------------------------------------------- writing */

DWORD
wi_remote_write_unasked(HANDLE target, uintptr_t address, const void *data,
                        size_t size, size_t *written)
{
    *written = 0;
    if (size == 0) {
        return 0;
    }
    if (size - 1 > UINTPTR_MAX - address) {
        return ERROR_NOACCESS;
    }
    SIZE_T done = 0;
    const BOOL ok =
        wi_reads_ignore_protection()
            ? wi_wine_write(target, address, data, size, &done)
            : WriteProcessMemory(target, (void *)address, data, size, &done);
    if (ok && done == size) {
        *written = size;
        return 0;
    }
    DWORD err = GetLastError();
    *written = done < size ? done : 0;
    return err ? err : ERROR_PARTIAL_COPY;
}

DWORD
wi_remote_write(HANDLE target, uintptr_t address, const void *data,
                size_t size, size_t *written)
{
    if (wi_remote_asks(target, address, size, TRUE)) {
        DWORD err = remote_check(target, address, size, TRUE, 0);
        if (err) {
            *written = 0;
            return err;
        }
    }
    return wi_remote_write_unasked(target, address, data, size, written);
}
