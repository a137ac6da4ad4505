// Package checkpoint reads weights at rest, and writes safetensors.
//
// [Open] recognises a file by its content, maps it into memory and lists its
// tensors without reading them. Values are then decoded to float32 or float64
// on the way out, whole ([Tensor.Float32]) or in blocks ([Tensor.Blocks]), so a
// checkpoint larger than memory can be read.
//
// Files are treated as hostile: every length, offset and shape is checked
// against the file before it is believed, nothing in a file is executed, and a
// file that is truncated while it is being read gives an error.
package checkpoint
