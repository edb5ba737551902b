/* pe_image.h: read the headers of a PE image that may be hostile.
 *
 * Plain C, without Python and Windows, so that it can be fuzzed anywhere. An
 * image is either mapped (as the loader lays it out, sections at their RVA)
 * or a file (sections at their file offset).
 *
 * Nothing is read through a pointer into the image: each field is copied out
 * once, after its range was checked, and every decision uses that copy. The
 * image may change meanwhile (a shared section is writable by others) and no
 * more can happen than a wrong answer.
 */
#ifndef WINIPC_SECTION_PE_IMAGE_H
#define WINIPC_SECTION_PE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#define WI_PE_SCN_CODE 0x00000020u
#define WI_PE_SCN_MEM_SHARED 0x10000000u
#define WI_PE_SCN_MEM_EXECUTE 0x20000000u
#define WI_PE_SCN_MEM_READ 0x40000000u
#define WI_PE_SCN_MEM_WRITE 0x80000000u

#define WI_PE_FILE_DLL 0x2000u

/* The longest symbol that is looked at; longer names count as damage. */
#define WI_PE_MAX_NAME 4096

/* The most exports: ordinals have 16 bits. */
#define WI_PE_MAX_EXPORTS 0x10000u

typedef enum {
    WI_PE_OK = 0,
    WI_PE_TRUNCATED,    /* a structure leaves the image */
    WI_PE_NOT_DOS,      /* no "MZ" */
    WI_PE_NOT_PE,       /* no "PE\0\0" */
    WI_PE_BAD_OPTIONAL, /* neither PE32 nor PE32+, or too short */
    WI_PE_BAD_SECTION,  /* a section that leaves the image */
    WI_PE_NO_SECTION,   /* no section holds the address */
    WI_PE_NO_EXPORTS,   /* no export directory */
    WI_PE_BAD_EXPORTS,  /* the export directory leaves the image */
    WI_PE_BAD_NAME,     /* a name without an end, or too long */
    WI_PE_NO_SYMBOL     /* not among the named exports */
} wi_pe_status;

/* Whether [offset, offset + size) may be read now; NULL means always. */
typedef int (*wi_pe_readable)(void *context, size_t offset, size_t size);

typedef struct {
    /* Given by the caller. */
    const unsigned char *base;
    size_t size;
    int mapped;
    wi_pe_readable readable;
    void *context;
    /* Filled by wi_pe_open. */
    uint16_t machine;
    uint16_t characteristics;
    int is_pe32_plus;
    uint32_t image_size; /* SizeOfImage */
    uint32_t headers_size;
    uint16_t section_count;
    size_t section_table; /* offset of the first section header */
    uint32_t export_rva;
    uint32_t export_size;
    /* Filled by wi_pe_open_exports. */
    uint32_t ordinal_base;
    uint32_t function_count;
    uint32_t name_count;
    uint32_t functions_rva;
    uint32_t names_rva;
    uint32_t ordinals_rva;
} wi_pe;

typedef struct {
    char name[9];
    uint32_t rva;
    uint32_t size; /* VirtualSize, or the raw size where that is 0 */
    uint32_t raw_offset;
    uint32_t raw_size;
    uint32_t flags;
} wi_pe_section;

typedef struct {
    uint32_t rva;
    int forwarder; /* rva points to "OTHER.symbol", not to the thing itself */
} wi_pe_export;

/* A sentence for people. */
const char *wi_pe_message(wi_pe_status status);

/* The headers. Fields "given by the caller" are set, the rest zero. */
wi_pe_status wi_pe_open(wi_pe *pe);

wi_pe_status wi_pe_section_at(const wi_pe *pe, unsigned index,
                              wi_pe_section *section);

/* The section that holds an RVA. */
wi_pe_status wi_pe_section_of(const wi_pe *pe, uint32_t rva,
                              wi_pe_section *section);

/* The export tables; before the functions below. */
wi_pe_status wi_pe_open_exports(wi_pe *pe);

/* The address table, 0 <= index < function_count. An unused entry has the
 * RVA 0. */
wi_pe_status wi_pe_function_at(const wi_pe *pe, uint32_t index,
                               wi_pe_export *export);

/* The name table, 0 <= index < name_count. The name is copied to name, which
 * has room for capacity bytes with its NUL. */
wi_pe_status wi_pe_name_at(const wi_pe *pe, uint32_t index, char *name,
                           size_t capacity, wi_pe_export *export);

/* A named export. Searches from the first to the last name, so that it also
 * works where they are not sorted. */
wi_pe_status wi_pe_find(const wi_pe *pe, const char *symbol,
                        wi_pe_export *export);

/* Where a variable that starts at rva ends at the latest: at the next
 * exported address of its section, or at the section's end. */
wi_pe_status wi_pe_end_of(const wi_pe *pe, const wi_pe_section *section,
                          uint32_t rva, uint32_t *end);

#endif
