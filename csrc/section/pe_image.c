/* pe_image.c: read the headers of a PE image that may be hostile. */
#include "pe_image.h"

#include <string.h>

/* ------------------------------------------------------- the only readers */

static wi_pe_status
pe_read(const wi_pe *pe, size_t offset, void *out, size_t size)
{
    if (offset > pe->size || size > pe->size - offset) {
        return WI_PE_TRUNCATED;
    }
    if (pe->readable != NULL && !pe->readable(pe->context, offset, size)) {
        return WI_PE_TRUNCATED;
    }
    memcpy(out, pe->base + offset, size);
    return WI_PE_OK;
}

static uint16_t
pe_u16(const unsigned char *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static uint32_t
pe_u32(const unsigned char *at)
{
    return pe_u16(at) | (uint32_t)pe_u16(at + 2) << 16;
}

/* Where an RVA is in the image. */
static wi_pe_status
pe_offset_of(const wi_pe *pe, uint32_t rva, size_t *offset)
{
    wi_pe_section section;
    if (pe->mapped || rva < pe->headers_size) {
        *offset = rva;
        return WI_PE_OK;
    }
    wi_pe_status status = wi_pe_section_of(pe, rva, &section);
    if (status != WI_PE_OK) {
        return status;
    }
    uint32_t into = rva - section.rva;
    if (into >= section.raw_size) {
        return WI_PE_TRUNCATED; /* zeros that only exist once it is loaded */
    }
    *offset = (size_t)section.raw_offset + into;
    return WI_PE_OK;
}

/* rva + index * stride, all of it checked. */
static wi_pe_status
pe_read_entry(const wi_pe *pe, uint32_t rva, uint32_t index, uint32_t stride,
              void *out)
{
    uint64_t at = rva + (uint64_t)index * stride;
    size_t offset;
    if (at > UINT32_MAX) {
        return WI_PE_BAD_EXPORTS;
    }
    wi_pe_status status = pe_offset_of(pe, (uint32_t)at, &offset);
    return status == WI_PE_OK ? pe_read(pe, offset, out, stride) : status;
}

/* ---------------------------------------------------------------- headers */

const char *
wi_pe_message(wi_pe_status status)
{
    switch (status) {
    case WI_PE_OK:
        return "ok";
    case WI_PE_TRUNCATED:
        return "a header points outside of the image";
    case WI_PE_NOT_DOS:
        return "it does not start with MZ";
    case WI_PE_NOT_PE:
        return "it has no PE signature";
    case WI_PE_BAD_OPTIONAL:
        return "its optional header is neither PE32 nor PE32+";
    case WI_PE_BAD_SECTION:
        return "a section leaves the image";
    case WI_PE_NO_SECTION:
        return "an address is in none of its sections";
    case WI_PE_NO_EXPORTS:
        return "it exports nothing";
    case WI_PE_BAD_EXPORTS:
        return "its export directory is damaged";
    case WI_PE_BAD_NAME:
        return "an export has no proper name";
    case WI_PE_NO_SYMBOL:
        return "it exports no such symbol";
    }
    return "unknown";
}

enum {
    PE_DOS_SIZE = 64,
    PE_FILE_SIZE = 24, /* signature and file header */
    PE_SECTION_SIZE = 40,
    PE_EXPORT_SIZE = 40,
    PE_MAX_SECTIONS = 96, /* the loader's own limit; it bounds every loop */
    PE_PAGE = 4096
};

wi_pe_status
wi_pe_open(wi_pe *pe)
{
    unsigned char dos[PE_DOS_SIZE];
    unsigned char file[PE_FILE_SIZE];
    unsigned char optional[112];
    unsigned char directory[8];

    wi_pe_status status = pe_read(pe, 0, dos, sizeof(dos));
    if (status != WI_PE_OK) {
        return status;
    }
    if (dos[0] != 'M' || dos[1] != 'Z') {
        return WI_PE_NOT_DOS;
    }
    uint32_t at = pe_u32(dos + 60);
    status = pe_read(pe, at, file, sizeof(file));
    if (status != WI_PE_OK) {
        return status;
    }
    if (memcmp(file, "PE\0\0", 4) != 0) {
        return WI_PE_NOT_PE;
    }
    pe->machine = pe_u16(file + 4);
    pe->section_count = pe_u16(file + 6);
    uint16_t optional_size = pe_u16(file + 20);
    pe->characteristics = pe_u16(file + 22);

    size_t optional_at = (size_t)at + PE_FILE_SIZE;
    if (optional_size < 96) {
        return WI_PE_BAD_OPTIONAL;
    }
    /* PE32's fixed part has 96 bytes, PE32+'s has 112. */
    memset(optional, 0, sizeof(optional));
    status = pe_read(pe, optional_at, optional,
                     optional_size < sizeof(optional) ? optional_size
                                                      : sizeof(optional));
    if (status != WI_PE_OK) {
        return status;
    }
    uint16_t magic = pe_u16(optional);
    uint32_t fixed, directories;
    if (magic == 0x20B && optional_size >= 112) {
        pe->is_pe32_plus = 1;
        fixed = 112;
        directories = pe_u32(optional + 108);
    }
    else if (magic == 0x10B) {
        fixed = 96;
        directories = pe_u32(optional + 92);
    }
    else {
        return WI_PE_BAD_OPTIONAL;
    }
    pe->image_size = pe_u32(optional + 56);
    pe->headers_size = pe_u32(optional + 60);
    if (directories > 0 && optional_size >= fixed + sizeof(directory)) {
        status =
            pe_read(pe, optional_at + fixed, directory, sizeof(directory));
        if (status != WI_PE_OK) {
            return status;
        }
        pe->export_rva = pe_u32(directory);
        pe->export_size = pe_u32(directory + 4);
    }

    if (pe->section_count > PE_MAX_SECTIONS) {
        return WI_PE_BAD_SECTION;
    }
    pe->section_table = optional_at + optional_size;
    if (pe->section_table > pe->size ||
        (size_t)pe->section_count * PE_SECTION_SIZE >
            pe->size - pe->section_table) {
        return WI_PE_TRUNCATED;
    }
    return WI_PE_OK;
}

/* --------------------------------------------------------------- sections */

wi_pe_status
wi_pe_section_at(const wi_pe *pe, unsigned index, wi_pe_section *section)
{
    unsigned char raw[PE_SECTION_SIZE];
    if (index >= pe->section_count) {
        return WI_PE_NO_SECTION;
    }
    wi_pe_status status =
        pe_read(pe, pe->section_table + (size_t)index * PE_SECTION_SIZE, raw,
                sizeof(raw));
    if (status != WI_PE_OK) {
        return status;
    }
    memcpy(section->name, raw, 8);
    section->name[8] = '\0';
    section->size = pe_u32(raw + 8);
    section->rva = pe_u32(raw + 12);
    section->raw_size = pe_u32(raw + 16);
    section->raw_offset = pe_u32(raw + 20);
    section->flags = pe_u32(raw + 36);
    if (section->size == 0) {
        section->size = section->raw_size;
    }
    if (section->rva > pe->image_size ||
        section->size > pe->image_size - section->rva) {
        return WI_PE_BAD_SECTION;
    }
    if (!pe->mapped && section->raw_size > 0 &&
        (section->raw_offset > pe->size ||
         section->raw_size > pe->size - section->raw_offset)) {
        return WI_PE_BAD_SECTION;
    }
    return WI_PE_OK;
}

wi_pe_status
wi_pe_section_of(const wi_pe *pe, uint32_t rva, wi_pe_section *section)
{
    for (unsigned i = 0; i < pe->section_count; i++) {
        wi_pe_status status = wi_pe_section_at(pe, i, section);
        if (status != WI_PE_OK) {
            return status;
        }
        if (rva >= section->rva && rva - section->rva < section->size) {
            return WI_PE_OK;
        }
    }
    return WI_PE_NO_SECTION;
}

/* ---------------------------------------------------------------- exports */

wi_pe_status
wi_pe_open_exports(wi_pe *pe)
{
    unsigned char raw[PE_EXPORT_SIZE];
    size_t offset;
    if (pe->export_rva == 0 || pe->export_size < sizeof(raw)) {
        return WI_PE_NO_EXPORTS;
    }
    wi_pe_status status = pe_offset_of(pe, pe->export_rva, &offset);
    if (status == WI_PE_OK) {
        status = pe_read(pe, offset, raw, sizeof(raw));
    }
    if (status != WI_PE_OK) {
        return status;
    }
    pe->ordinal_base = pe_u32(raw + 16);
    pe->function_count = pe_u32(raw + 20);
    pe->name_count = pe_u32(raw + 24);
    pe->functions_rva = pe_u32(raw + 28);
    pe->names_rva = pe_u32(raw + 32);
    pe->ordinals_rva = pe_u32(raw + 36);
    /* No table can be larger than the image: this bounds every loop. */
    if (pe->function_count > pe->size / 4 || pe->name_count > pe->size / 4 ||
        pe->function_count > WI_PE_MAX_EXPORTS ||
        pe->name_count > WI_PE_MAX_EXPORTS) {
        return WI_PE_BAD_EXPORTS;
    }
    return WI_PE_OK;
}

wi_pe_status
wi_pe_function_at(const wi_pe *pe, uint32_t index, wi_pe_export *export)
{
    unsigned char raw[4];
    if (index >= pe->function_count) {
        return WI_PE_BAD_EXPORTS;
    }
    wi_pe_status status = pe_read_entry(pe, pe->functions_rva, index, 4, raw);
    if (status != WI_PE_OK) {
        return status;
    }
    export->rva = pe_u32(raw);
    export->forwarder = export->rva >= pe->export_rva &&
                        export->rva - pe->export_rva < pe->export_size;
    return WI_PE_OK;
}

/* Copy a NUL-terminated string out of the image. */
static wi_pe_status
pe_read_string(const wi_pe *pe, uint32_t rva, char *out, size_t capacity)
{
    size_t offset;
    wi_pe_status status = pe_offset_of(pe, rva, &offset);
    if (status != WI_PE_OK) {
        return status;
    }
    /* By pieces that stay within a page: what follows the string may lie in
     * memory that cannot be read. */
    for (size_t done = 0; done < capacity;) {
        size_t at = offset + done;
        size_t piece = PE_PAGE - at % PE_PAGE;
        if (piece > capacity - done) {
            piece = capacity - done;
        }
        if (at < pe->size && piece > pe->size - at) {
            piece = pe->size - at;
        }
        status = pe_read(pe, at, out + done, piece);
        if (status != WI_PE_OK) {
            return status;
        }
        if (memchr(out + done, '\0', piece) != NULL) {
            return WI_PE_OK;
        }
        done += piece;
    }
    return WI_PE_BAD_NAME;
}

wi_pe_status
wi_pe_name_at(const wi_pe *pe, uint32_t index, char *name, size_t capacity,
              wi_pe_export *export)
{
    unsigned char raw[4];
    if (index >= pe->name_count) {
        return WI_PE_BAD_EXPORTS;
    }
    wi_pe_status status = pe_read_entry(pe, pe->names_rva, index, 4, raw);
    if (status == WI_PE_OK) {
        status = pe_read_string(pe, pe_u32(raw), name, capacity);
    }
    if (status == WI_PE_OK) {
        status = pe_read_entry(pe, pe->ordinals_rva, index, 2, raw);
    }
    if (status == WI_PE_OK) {
        status = wi_pe_function_at(pe, pe_u16(raw), export);
    }
    return status;
}

wi_pe_status
wi_pe_find(const wi_pe *pe, const char *symbol, wi_pe_export *export)
{
    char name[WI_PE_MAX_NAME];
    size_t total = 0;
    for (uint32_t i = 0; i < pe->name_count; i++) {
        wi_pe_status status = wi_pe_name_at(pe, i, name, sizeof(name), export);
        if (status != WI_PE_OK) {
            return status;
        }
        if (strcmp(name, symbol) == 0) {
            return WI_PE_OK;
        }
        total += strlen(name) + 1;
        if (total > pe->size) { /* entries that share one long name */
            return WI_PE_BAD_EXPORTS;
        }
    }
    return WI_PE_NO_SYMBOL;
}

wi_pe_status
wi_pe_end_of(const wi_pe *pe, const wi_pe_section *section, uint32_t rva,
             uint32_t *end)
{
    *end = section->rva + section->size;
    for (uint32_t i = 0; i < pe->function_count; i++) {
        wi_pe_export other;
        wi_pe_status status = wi_pe_function_at(pe, i, &other);
        if (status != WI_PE_OK) {
            return status;
        }
        if (other.rva > rva && other.rva < *end) {
            *end = other.rva;
        }
    }
    return WI_PE_OK;
}
