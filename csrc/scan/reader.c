/* reader.c: reads the memory of another process piece by piece.
 *
 * Wraps VirtualQueryEx and ReadProcessMemory. It uses no Python.
 *
 * Thread: one at a time asks which memory there is and cuts it into spans; any
 * number of threads read their spans. The target goes on running, so memory
 * may be gone before it is read. A read that fails is no error: it is repeated
 * page by page, and pages that fail are counted and left out. Only a target
 * that has exited, or may not be read at all, ends the reading. */
#include "scan.h"

#include "base/handles.h"

#include <stdlib.h>

/* ---------------------------------------------------------- what is there */

/* Set the reader's region to the one of this address. 0, or a Win32 error. */
static DWORD
reader_query(wi_reader *reader, uintptr_t address)
{
    MEMORY_BASIC_INFORMATION region;
    if (address >= reader->region_start && address < reader->region_end) {
        return 0;
    }
    if (!wi_remote_query(reader->target, address, &region)) {
        return GetLastError();
    }
    uintptr_t end = (uintptr_t)region.BaseAddress + region.RegionSize;
    const BOOL readable = wi_region_readable(&region);
    reader->region_start = address;
    reader->region_end = end > address ? end : UINTPTR_MAX;
    reader->wanted =
        readable && (reader->protections == 0 ||
                     (region.Protect & 0xff & reader->protections) != 0);
    reader->shut = region.State == MEM_COMMIT && !readable;
    return 0;
}

/* Move the cursor to the next byte that should be readable. 1, 0 if there is
 * none, or -1 with *err. Adds the bytes that are left out to *skipped. */
static int
reader_seek(wi_reader *reader, uint64_t *skipped, DWORD *err)
{
    for (;;) {
        while (reader->range < reader->range_count &&
               reader->cursor >= reader->ranges[reader->range].end) {
            reader->range++;
        }
        if (reader->range == reader->range_count) {
            return 0;
        }
        const wi_range *range = &reader->ranges[reader->range];
        if (reader->cursor < range->start) {
            reader->cursor = range->start;
        }
        *err = reader_query(reader, reader->cursor);
        if (*err != 0) {
            reader->range = reader->range_count;
            /* ERROR_INVALID_PARAMETER (87): there are no more addresses. */
            if (*err == ERROR_INVALID_PARAMETER &&
                !wi_exits_within(reader->target, 0)) {
                *err = 0;
                return 0;
            }
            return -1;
        }
        if (reader->wanted) {
            return 1;
        }
        const uintptr_t end =
            reader->region_end < range->end ? reader->region_end : range->end;
        *skipped += reader->shut ? end - reader->cursor : 0;
        reader->cursor = end;
    }
}

int
wi_reader_claim(wi_reader *reader, wi_span *span)
{
    span->skipped = 0;
    span->scanned = 0;
    span->size = 0;
    span->more = 0;
    span->err = 0;
    const int found = reader_seek(reader, &span->skipped, &span->err);
    if (found <= 0) {
        span->api = "VirtualQueryEx";
        /* A last span, for the error or for the bytes that were left out. */
        return found < 0 || span->skipped > 0;
    }
    const uintptr_t start = reader->cursor;
    const size_t left = reader->ranges[reader->range].end - start;
    size_t size = WI_READ_CHUNK - start % WI_READ_CHUNK;
    size = size < left ? size : left;
    const size_t behind = left - size;
    const size_t most =
        size + (behind < reader->overlap ? behind : reader->overlap);
    size_t at = 0;
    memset(span->pages, 0, sizeof(span->pages));
    while (at < most) {
        /* An error comes again when the cursor is here. */
        if (reader_query(reader, start + at) != 0) {
            break;
        }
        if (at >= size && !reader->wanted) {
            break;
        }
        size_t n = reader->region_end - (start + at);
        n = n < most - at ? n : most - at;
        if (at < size && !reader->wanted) {
            n = n < size - at ? n : size - at;
            span->skipped += reader->shut ? n : 0;
        }
        else {
            memset(span->pages + wi_page_count(start, at + 1) - 1, 1,
                   wi_page_count(start + at, n));
        }
        at += n;
    }
    span->start = start;
    span->size = at < size ? at : size;
    span->more = at - span->size;
    reader->cursor = start + span->size;
    return 1;
}

uint64_t
wi_reader_estimate(const wi_reader *reader)
{
    wi_reader walker = *reader;
    uint64_t total = 0, skipped = 0;
    DWORD err;
    while (reader_seek(&walker, &skipped, &err) > 0) {
        const uintptr_t end = walker.ranges[walker.range].end;
        const uintptr_t next =
            walker.region_end < end ? walker.region_end : end;
        total += next - walker.cursor;
        walker.cursor = next;
    }
    return total;
}

/* ---------------------------------------------------------------- reading */

DWORD
wi_read_pages(HANDLE target, uintptr_t start, uintptr_t end, uint8_t *room,
              uint8_t *pages, BOOL asked, volatile LONG *some, BOOL *whole)
{
    const size_t count = wi_page_count(start, end - start);
    *whole = TRUE;
    for (size_t page = 0, next; page < count; page = next) {
        next = page + 1;
        if (!pages[page]) {
            continue;
        }
        while (next < count && pages[next]) {
            next++;
        }
        uintptr_t from = (start / WI_PAGE + page) * WI_PAGE;
        uintptr_t to = from + (next - page - 1) * WI_PAGE + (WI_PAGE - 1);
        from = from < start ? start : from;
        to = to > end - 1 ? end - 1 : to;
        uint8_t *data = room + (from - start);
        const size_t size = (size_t)(to - from) + 1;
        SIZE_T done = 0;
        DWORD err = 0;
        if (!asked) {
            err = wi_remote_read(target, from, data, size);
        }
        else if (!ReadProcessMemory(target, (const void *)from, data, size,
                                    &done) ||
                 done != size) {
            err = GetLastError();
            err = err ? err : ERROR_PARTIAL_COPY;
        }
        if (err == 0) {
            if (!*some) {
                InterlockedExchange(some, 1);
            }
            continue;
        }
        const BOOL denied = err == ERROR_ACCESS_DENIED;
        if (wi_exits_within(target, denied ? WI_DYING_MS : 0) ||
            (denied && !*some)) {
            return err;
        }
        /* Ask which memory there is now, and read in small steps. */
        DWORD ignored;
        *whole = FALSE;
        wi_remote_read_mask(target, from, data, size, pages + page, &ignored);
    }
    return 0;
}
