package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
)

// A File is an open checkpoint. Its tensors stay readable until Close.
type File struct {
	Path     string
	Format   string            // "safetensors", "gguf", "npz" or "pytorch"
	Metadata map[string]string // what the writer stored beside the tensors; may be nil
	Tensors  []Tensor          // in the order of the file, and of the shards
	maps     []*mapping
}

// Open opens a checkpoint and checks its table of contents against the size of
// the file. Tensor data is not read. The path is that of
//
//   - a safetensors file,
//   - a GGUF file, version 2 or 3,
//   - a NumPy .npz archive,
//   - a file written by torch.save since PyTorch 1.6 (.pt, .pth, .bin),
//   - the JSON index of a checkpoint in several of these files
//     (model.safetensors.index.json), or
//   - a folder that holds a model under one of the names in modelNames.
func Open(path string) (*File, error) {
	f := &File{Path: path}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if f.Path, err = modelIn(path); err != nil {
			return nil, err
		}
	}
	m, err := mapFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Path, err)
	}
	f.maps = []*mapping{m}
	if err := m.guard(func() error { return f.parse(m) }); err != nil {
		f.Close()
		return nil, fmt.Errorf("reading %s: %w", f.Path, err)
	}
	return f, nil
}

// modelNames are the names under which model hubs keep a model in a folder, in
// order of preference.
var modelNames = []string{
	"model.safetensors.index.json", "model.safetensors",
	"pytorch_model.bin.index.json", "pytorch_model.bin",
}

func modelIn(dir string) (string, error) {
	for _, name := range modelNames {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("reading %s: expected the folder to hold one of %q", dir, modelNames)
}

// parse recognises the format by its first bytes and reads the table of contents.
func (f *File) parse(m *mapping) error {
	head := m.data[:min(len(m.data), 16)]
	isText := bytes.IndexByte(head[:min(len(head), 8)], 0) < 0 // else a number of 8 bytes
	switch {
	case len(head) == 0:
		return errors.New("the file is empty")
	case !isText && len(head) > 8 && bytes.IndexByte([]byte("{ "), head[8]) >= 0: // first, for its length may look like any magic
		f.Format = "safetensors"
		return f.parseSafetensors(m)
	case bytes.HasPrefix(head, []byte("GGUF")):
		f.Format = "gguf"
		return f.parseGGUF(m)
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return f.parseZip(m)
	case head[0] == 0x80 && len(head) > 1 && head[1] >= 2 && head[1] <= 5:
		return errors.New("a bare pickle, as torch.save wrote before PyTorch 1.6: load it with torch.load(…, weights_only=True) and save it again")
	case isIndex(m.data):
		return f.parseIndex(m.data)
	}
	return errors.New("not a checkpoint: expected safetensors, GGUF, .npz, a file of torch.save, or the index of a sharded checkpoint")
}

// isIndex reports whether content is a JSON object.
func isIndex(content []byte) bool {
	head := content[:min(len(content), 8)]
	return bytes.IndexByte(head, 0) < 0 && bytes.HasPrefix(bytes.TrimSpace(head), []byte("{"))
}

// Close unmaps the file. No tensor of it may be in use.
func (f *File) Close() error {
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, m.close())
	}
	f.maps = nil
	return errors.Join(errs...)
}

// Tensor returns the tensor called name, or an error that names the file.
func (f *File) Tensor(name string) (Tensor, error) {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t, nil
		}
	}
	return Tensor{}, fmt.Errorf("reading %s: there is no tensor %q among its %d", f.Path, name, len(f.Tensors))
}

// checkNames refuses a file in which two tensors have one name.
func (f *File) checkNames() error {
	seen := make(map[string]bool, len(f.Tensors))
	for _, t := range f.Tensors {
		if seen[t.Name] {
			return fmt.Errorf("two tensors are called %q", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

// A Tensor is one array in a checkpoint. It may be copied, and its methods may
// be called from several goroutines at once.
type Tensor struct {
	Name  string
	DType string // "F64", "F32", "F16", "BF16", or GGUF's "Q8_0", "Q4_0", "Q4_K", "Q6_K"; others ("I64", "BOOL", …) are listed but cannot be read
	Shape []int  // outermost dimension first, also for GGUF; empty for a scalar

	file      *mapping
	data      []byte                        // the encoded elements, in row-major order unless strides says otherwise
	strides   []int                         // in elements, one per dimension; nil for row-major order
	bigEndian bool                          // elements are stored most significant byte first
	inflate   func() (io.ReadCloser, error) // opens the elements where they are compressed; data is nil then
}

// Len returns the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Readable reports whether the elements can be decoded to floating point.
func (t Tensor) Readable() bool { return decoderFor[float64](t.DType) != nil }

// Float32 decodes all elements, in row-major order, into dst, whose length
// must be t.Len(). F64 values are rounded.
func (t Tensor) Float32(dst []float32) error { return readAll(t, dst) }

// Float64 is Float32 in double precision, in which every dtype is exact.
func (t Tensor) Float64(dst []float64) error { return readAll(t, dst) }

// Blocks yields all elements in row-major order, a few thousand at a time.
// The slice is reused. An error is yielded once, with a nil slice, and ends
// the sequence.
func (t Tensor) Blocks() iter.Seq2[[]float64, error] {
	return func(yield func([]float64, error) bool) {
		c, err := newCursor[float64](t)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.close()
		buf := make([]float64, min(t.Len(), blockLen))
		for left := t.Len(); left > 0; left -= len(buf) {
			buf = buf[:min(left, len(buf))]
			if err := c.next(buf); err != nil {
				yield(nil, err)
				return
			}
			if !yield(buf, nil) {
				return
			}
		}
	}
}

func (t Tensor) errorf(format string, args ...any) error {
	return fmt.Errorf("reading %s: tensor %q: %w", t.file.path, t.Name, fmt.Errorf(format, args...))
}
