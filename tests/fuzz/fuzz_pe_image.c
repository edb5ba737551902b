/* Fuzz the parser of PE headers, as a file and as a mapped image: no input may
 * make it read outside of its buffer or overflow, and what it says about
 * sections and exports must lie within what the image claims to be.
 *
 * With libFuzzer:   clang -fsanitize=fuzzer,address,undefined this pe_image.c
 * Without it, -DWI_FUZZ_MAIN gives a program that changes the given files at
 * random: fuzz_pe_image ROUNDS SEED FILE... */
#include "../../csrc/section/pe_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int claim, const char *what)
{
    if (!claim) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

/* Pages that may not be read, chosen by the input's size. */
static int
every_third_page_is_away(void *context, size_t offset, size_t size)
{
    size_t phase = *(size_t *)context;
    for (size_t page = offset / 4096; page <= (offset + size - 1) / 4096;
         page++) {
        if ((page + phase) % 3 == 2) {
            return 0;
        }
    }
    return 1;
}

static void
parse(const uint8_t *data, size_t size, int mapped, wi_pe_readable readable)
{
    static char name[WI_PE_MAX_NAME];
    size_t phase = size;
    wi_pe pe;
    wi_pe_section section;
    wi_pe_export export;
    memset(&pe, 0, sizeof(pe));
    pe.base = data;
    pe.size = size;
    pe.mapped = mapped;
    pe.readable = readable;
    pe.context = &phase;
    wi_pe_status status = wi_pe_open(&pe);
    check(wi_pe_message(status)[0] != '\0', "a message");
    if (status != WI_PE_OK) {
        return;
    }
    check(pe.section_count <= 96, "number of sections");
    for (unsigned i = 0; i < pe.section_count; i++) {
        if (wi_pe_section_at(&pe, i, &section) == WI_PE_OK) {
            check(section.rva <= pe.image_size &&
                      section.size <= pe.image_size - section.rva,
                  "a section within the image");
            check(memchr(section.name, 0, sizeof(section.name)) != NULL,
                  "a section name that ends");
        }
    }
    check(wi_pe_section_at(&pe, pe.section_count, &section) != WI_PE_OK,
          "no section after the last");
    if (wi_pe_open_exports(&pe) != WI_PE_OK) {
        return;
    }
    check(pe.function_count <= size / 4 && pe.name_count <= size / 4,
          "tables within the image");
    for (uint32_t i = 0; i < pe.name_count && i < 200; i++) {
        if (wi_pe_name_at(&pe, i, name, sizeof(name), &export) != WI_PE_OK) {
            continue;
        }
        check(memchr(name, 0, sizeof(name)) != NULL, "a name that ends");
        wi_pe_export found;
        if (wi_pe_find(&pe, name, &found) == WI_PE_OK &&
            wi_pe_section_of(&pe, found.rva, &section) == WI_PE_OK) {
            uint32_t end;
            if (wi_pe_end_of(&pe, &section, found.rva, &end) == WI_PE_OK) {
                check(end > found.rva && end <= section.rva + section.size,
                      "an end within the section");
            }
        }
    }
    for (uint32_t i = 0; i < pe.function_count && i < 2000; i++) {
        if (wi_pe_function_at(&pe, i, &export) != WI_PE_OK) {
            break;
        }
    }
    wi_pe_find(&pe, "MySharedData", &export);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parse(data, size, 0, NULL);
    parse(data, size, 1, NULL);
    parse(data, size, 1, every_third_page_is_away);
    return 0;
}

#ifdef WI_FUZZ_MAIN

static uint64_t state;

static uint32_t
draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

static void
damage(uint8_t *data, size_t size)
{
    static const uint32_t edges[] = {0,      1,          0x7F,       0xFF,
                                     0xFFFF, 0x7FFFFFFF, 0x80000000, ~0u};
    /* Headers and exports lie in the first 2 KiB, and at 4096 when mapped. */
    size_t reach = draw(4) == 0 || size < 2048 ? size : 2048;
    for (uint32_t changes = 1 + draw(4); changes > 0; changes--) {
        uint32_t value = draw(2) ? edges[draw(8)] : (uint32_t)state;
        size_t width = (size_t)1 << draw(3);
        size_t at = draw((uint32_t)reach);
        memcpy(data + at, &value, width < size - at ? width : size - at);
    }
}

int
main(int argc, char **argv)
{
    unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) * 2654435761u + 1 : 1;
    for (int i = 3; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
            return 2;
        }
        size_t size = (size_t)ftell(file);
        uint8_t *whole = malloc(size);
        rewind(file);
        if (whole == NULL || fread(whole, 1, size, file) != size) {
            return 2;
        }
        fclose(file);
        for (unsigned long round = 0; round < rounds; round++) {
            /* A block of just this size, so that a read too far is seen. */
            size_t cut = draw(8) == 0 ? 1 + draw((uint32_t)size) : size;
            uint8_t *copy = malloc(cut);
            if (copy == NULL) {
                return 2;
            }
            memcpy(copy, whole, cut);
            damage(copy, cut);
            LLVMFuzzerTestOneInput(copy, cut);
            free(copy);
        }
        free(whole);
    }
    puts("survived");
    return 0;
}

#endif
