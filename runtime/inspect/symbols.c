/* inspect/symbols.c: reading the symbol table of /proc/self/exe. The file may be anything by now
 * (replaced under a running process), so everything in it is checked. */
#include "runtime/inspect/symbols.h"
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static bool inside(const struct symbols *s, uint64_t offset, uint64_t bytes)
{
    return offset <= s->size && bytes <= s->size - offset;
}

static bool find_table(struct symbols *s)
{
    const Elf64_Ehdr *header = (const void *)s->file;
    if (!inside(s, 0, sizeof(*header)) || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(Elf64_Shdr) ||
        header->e_shoff % 8 != 0 ||
        !inside(s, header->e_shoff, (uint64_t)header->e_shnum * sizeof(Elf64_Shdr)))
        return false;
    const Elf64_Shdr *sections = (const void *)(s->file + header->e_shoff);
    for (unsigned i = 0; i < header->e_shnum; i++) {
        const Elf64_Shdr *table = &sections[i];
        if (table->sh_type != SHT_SYMTAB || table->sh_link >= header->e_shnum ||
            table->sh_offset % 8 != 0)
            continue;
        const Elf64_Shdr *names = &sections[table->sh_link];
        if (!inside(s, table->sh_offset, table->sh_size) ||
            !inside(s, names->sh_offset, names->sh_size) || names->sh_size == 0 ||
            s->file[names->sh_offset + names->sh_size - 1] != 0)
            return false;
        s->table = s->file + table->sh_offset;
        s->count = table->sh_size / sizeof(Elf64_Sym);
        s->names = (const char *)s->file + names->sh_offset;
        s->names_size = names->sh_size;
        // The loader knows where the program headers are; the file says where they would be.
        s->base = header->e_type == ET_DYN ? getauxval(AT_PHDR) - header->e_phoff : 0;
        return true;
    }
    return false;
}

void symbols_open(struct symbols *s)
{
    struct stat st;
    memset(s, 0, sizeof(*s));
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        void *file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (file != MAP_FAILED) {
            s->file = file;
            s->size = (size_t)st.st_size;
            if (!find_table(s))
                symbols_close(s);
        }
    }
    close(fd);
}

void symbols_close(struct symbols *s)
{
    if (s->file)
        munmap((void *)(uintptr_t)s->file, s->size);
    memset(s, 0, sizeof(*s));
}

const char *symbols_find(const struct symbols *s, uintptr_t pc, uintptr_t *offset_out)
{
    const Elf64_Sym *table = s->table;
    uintptr_t at = pc - s->base;
    for (size_t i = 0; i < s->count; i++) {
        const Elf64_Sym *sym = &table[i];
        if (ELF64_ST_TYPE(sym->st_info) == STT_FUNC && at - sym->st_value < sym->st_size &&
            sym->st_name < s->names_size) {
            *offset_out = at - sym->st_value;
            return s->names + sym->st_name;
        }
    }
    return NULL;
}
