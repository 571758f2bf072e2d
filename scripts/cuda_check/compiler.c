// NVRTC without a compiler: whatever the source, a kernel comes out that nothing will launch.
//
// For counting memory with driver.c, which is the same whether kernels are compiled or not, and takes seconds.

#include <stddef.h>
#include <string.h>

typedef int Status;

static const char PTX[] = "// not compiled\n";

Status nvrtcCreateProgram(void **program, const char *source, const char *name, int headers, const char *const *texts,
                          const char *const *names) {
    (void)source; (void)name; (void)headers; (void)texts; (void)names;
    *program = (void *)1;
    return 0;
}
Status nvrtcCompileProgram(void *program, int options, const char *const *texts) {
    (void)program; (void)options; (void)texts;
    return 0;
}
Status nvrtcGetPTXSize(void *program, size_t *size) { (void)program; *size = sizeof PTX; return 0; }
Status nvrtcGetPTX(void *program, char *text) { (void)program; memcpy(text, PTX, sizeof PTX); return 0; }
Status nvrtcDestroyProgram(void **program) { *program = NULL; return 0; }
