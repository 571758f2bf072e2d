// A CUDA driver without a GPU: kernels are compiled as for a Hopper, and launching one does nothing.
//
// It stands in for libcuda.so, of which it has the functions that CubeCL calls, so that everything up to a launch is
// the real thing: the kernels' source, their options, NVRTC. Each module is written to $CUDA_CHECK_OUT/N.ptx, and
// launches.tsv beside it has a line for each kernel: N, threads of a block, bytes of shared memory, name.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef uint64_t Address;

struct Function {
    int module;
    int launched;
    char name[512];
};

enum { SUCCESS = 0, INVALID = 1 };

// Attributes of an H200 by their numbers in cuda.h.
Status cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) {
    case 1: *value = 1024; break;    // threads per block
    case 2: case 3: *value = 1024; break;
    case 4: *value = 64; break;      // block, z
    case 5: *value = 2147483647; break;
    case 6: case 7: *value = 65535; break;
    case 8: *value = 49152; break;   // shared memory per block
    case 10: *value = 32; break;     // warp
    case 16: *value = 132; break;    // multiprocessors
    case 39: *value = 2048; break;   // threads per multiprocessor
    case 75: *value = 9; break;      // compute capability
    case 76: *value = 0; break;
    case 81: *value = 233472; break; // shared memory per multiprocessor
    case 97: *value = 232448; break; // shared memory per block that asks for it
    default: *value = 0;
    }
    return SUCCESS;
}

Status cuInit(unsigned flags) { (void)flags; return SUCCESS; }
Status cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
Status cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
Status cuDeviceGet(int *device, int index) { *device = index; return SUCCESS; }
Status cuDeviceTotalMem_v2(size_t *bytes, int device) { (void)device; *bytes = 8ull << 30; return SUCCESS; }
Status cuDevicePrimaryCtxRetain(void **context, int device) { (void)device; *context = (void *)1; return SUCCESS; }
Status cuDevicePrimaryCtxRelease_v2(int device) { (void)device; return SUCCESS; }
Status cuCtxSetCurrent(void *context) { (void)context; return SUCCESS; }
Status cuCtxGetCurrent(void **context) { *context = (void *)1; return SUCCESS; }
Status cuCtxSynchronize(void) { return SUCCESS; }
Status cuGetErrorName(Status status, const char **name) { (void)status; *name = "error"; return SUCCESS; }
Status cuGetErrorString(Status status, const char **text) { (void)status; *text = "error"; return SUCCESS; }

Status cuStreamCreate(void **stream, unsigned flags) { (void)flags; *stream = (void *)1; return SUCCESS; }
Status cuStreamDestroy_v2(void *stream) { (void)stream; return SUCCESS; }
Status cuStreamSynchronize(void *stream) { (void)stream; return SUCCESS; }
Status cuStreamWaitEvent(void *stream, void *event, unsigned flags) { (void)stream; (void)event; (void)flags; return SUCCESS; }
Status cuEventCreate(void **event, unsigned flags) { (void)flags; *event = (void *)1; return SUCCESS; }
Status cuEventDestroy_v2(void *event) { (void)event; return SUCCESS; }
Status cuEventRecord(void *event, void *stream) { (void)event; (void)stream; return SUCCESS; }
Status cuEventSynchronize(void *event) { (void)event; return SUCCESS; }
Status cuEventQuery(void *event) { (void)event; return SUCCESS; }
Status cuEventElapsedTime(float *ms, void *from, void *to) { (void)from; (void)to; *ms = 1; return SUCCESS; }
Status cuEventElapsedTime_v2(float *ms, void *from, void *to) { return cuEventElapsedTime(ms, from, to); }

// Memory of the device is memory of the host, all zero.
static Status allocate(Address *address, size_t bytes) {
    *address = (Address)(uintptr_t)calloc(bytes ? bytes : 1, 1);
    return *address ? SUCCESS : INVALID;
}
static Status release(Address address) { free((void *)(uintptr_t)address); return SUCCESS; }
Status cuMemAlloc_v2(Address *address, size_t bytes) { return allocate(address, bytes); }
Status cuMemAllocAsync(Address *address, size_t bytes, void *stream) { (void)stream; return allocate(address, bytes); }
Status cuMemFree_v2(Address address) { return release(address); }
Status cuMemFreeAsync(Address address, void *stream) { (void)stream; return release(address); }
Status cuMemAllocHost_v2(void **memory, size_t bytes) { *memory = calloc(bytes ? bytes : 1, 1); return SUCCESS; }
Status cuMemFreeHost(void *memory) { free(memory); return SUCCESS; }
Status cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    (void)stream;
    memcpy((void *)(uintptr_t)to, from, bytes);
    return SUCCESS;
}
Status cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    (void)stream;
    memcpy(to, (const void *)(uintptr_t)from, bytes);
    return SUCCESS;
}
Status cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
    return cuMemcpyHtoDAsync_v2(to, (const void *)(uintptr_t)from, bytes, stream);
}
Status cuMemcpy2DAsync_v2(const void *copy, void *stream) { (void)copy; (void)stream; return SUCCESS; }
Status cuMemsetD8Async(Address to, unsigned char byte, size_t bytes, void *stream) {
    (void)stream;
    memset((void *)(uintptr_t)to, byte, bytes);
    return SUCCESS;
}
Status cuTensorMapEncodeTiled(void) { return SUCCESS; }
Status cuTensorMapEncodeIm2col(void) { return SUCCESS; }

static FILE *output(const char *name, const char *mode) {
    const char *folder = getenv("CUDA_CHECK_OUT");
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : ".", name);
    FILE *file = fopen(path, mode);
    if (!file) {
        perror(path);
        exit(1);
    }
    return file;
}

Status cuModuleLoadData(void **module, const void *image) {
    static int count;
    char name[32];
    int number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    snprintf(name, sizeof name, "%d.ptx", number);
    FILE *file = output(name, "w");
    fputs(image, file);
    fclose(file);
    *module = (void *)(intptr_t)number;
    return SUCCESS;
}
Status cuModuleUnload(void *module) { (void)module; return SUCCESS; }
Status cuModuleGetFunction(void **function, void *module, const char *name) {
    struct Function *found = calloc(1, sizeof *found);
    found->module = (int)(intptr_t)module;
    snprintf(found->name, sizeof found->name, "%s", name);
    *function = found;
    return SUCCESS;
}
Status cuFuncSetAttribute(void *function, int attribute, int value) { (void)function; (void)attribute; (void)value; return SUCCESS; }
Status cuLaunchKernel(void *handle, unsigned gx, unsigned gy, unsigned gz, unsigned x, unsigned y, unsigned z,
                      unsigned shared, void *stream, void **parameters, void **extra) {
    (void)gx; (void)gy; (void)gz; (void)stream; (void)parameters; (void)extra;
    struct Function *function = handle;
    if (!function->launched) {
        function->launched = 1;
        FILE *file = output("launches.tsv", "a");
        fprintf(file, "%d\t%u\t%u\t%s\n", function->module, x * y * z, shared, function->name);
        fclose(file);
    }
    return SUCCESS;
}
