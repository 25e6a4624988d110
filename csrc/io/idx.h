/* idx.h: the idx format of MNIST and its kin (LeCun, Cortes, Burges 1998): two zero
 * bytes, a type byte, the number of dimensions, their sizes as big-endian 32-bit numbers,
 * then the values. */
#ifndef SM_IO_IDX_H
#define SM_IO_IDX_H

#include <stddef.h>

#include "tensor/tensor.h"

/* Loads an idx file of unsigned bytes (type 0x08), packed by gzip or not, as a uint8
 * tensor. SM_EIO, with the path in the message, when it cannot be read, would pass
 * max_bytes, or when its header and its length do not agree. */
sm_status sm_idx_load(const char *path, size_t max_bytes, sm_tensor **out, sm_error *err);

#endif
