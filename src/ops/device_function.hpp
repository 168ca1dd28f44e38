#pragma once

// PG_DEVICE_FUNCTION declares what a GPU computes, and where there is none, a plain inline
// function.
#ifdef __CUDACC__
#define PG_DEVICE_FUNCTION __device__ inline
#else
#define PG_DEVICE_FUNCTION inline
#endif
