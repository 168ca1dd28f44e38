#pragma once

#include <torch/version.h>

// PG_LIBRARY_ATTENTION: LibTorch has kernels for attention that can be told to give equal bits on
// every call. 2.5 is the first whose flash kernel can, in its backward pass.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 5)
#define PG_LIBRARY_ATTENTION
#endif
