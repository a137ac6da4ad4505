package checkpoint

import (
	"archive/zip"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// torchStorages maps the storage classes of torch, and its dtypes, to dtypes.
var torchStorages = map[string]string{
	"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
	"LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
	"ByteStorage": "U8", "BoolStorage": "BOOL", "ComplexFloatStorage": "C64", "ComplexDoubleStorage": "C128",
}

var torchDTypes = map[string]string{
	"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
	"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
	"uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8",
	"bool": "BOOL", "complex64": "C64", "complex128": "C128",
	"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
}

const (
	maxPickle   = 256 << 20 // bytes of data.pkl
	maxExpanded = 1 << 26   // elements of a tensor larger than its storage, as torch's expand makes
	maxNodes    = 1 << 22   // values in the pickled tree, shared ones counted each time
	maxDepth    = 100       // nesting of the pickled tree
	maxNames    = 64 << 20  // bytes of all tensor names
)

// parsePyTorch reads an archive of torch.save: a pickled tree of dicts in
// prefix+"data.pkl", and one file for each storage. Nothing in the pickle is
// executed (see unpickler). Tensors are named by their path in the tree.
func (f *File) parsePyTorch(m *mapping, archive *zip.Reader, prefix string) error {
	a := torchArchive{m: m, entries: make(map[string]*zip.File, len(archive.File))}
	for _, e := range archive.File {
		name, inside := strings.CutPrefix(e.Name, prefix)
		if a.entries[name] != nil {
			return fmt.Errorf("the archive has two files called %q", e.Name)
		}
		if inside {
			a.entries[name] = e
		}
	}
	if e := a.entries["byteorder"]; e != nil {
		order, err := stored(m, e)
		if err != nil {
			return err
		}
		a.bigEndian = string(order) == "big"
		if !a.bigEndian && string(order) != "little" {
			return fmt.Errorf("byteorder: expected little or big, got %.20q", order)
		}
	}
	program, err := stored(m, a.entries["data.pkl"])
	if err != nil {
		return err
	}
	if len(program) > maxPickle {
		return fmt.Errorf("data.pkl: %d bytes are above the limit of %d", len(program), maxPickle)
	}
	tree, err := unpickle(program)
	if err != nil {
		return fmt.Errorf("data.pkl: %w", err)
	}
	w := walker{archive: a, file: f}
	if err := w.walk("", tree, 0); err != nil {
		return err
	}
	if len(f.Tensors) == 0 {
		return errors.New("there are no tensors in it")
	}
	return f.checkNames()
}

type torchArchive struct {
	m         *mapping
	entries   map[string]*zip.File // without the prefix
	bigEndian bool
}

// tensor checks a pickled tensor against its storage.
func (a torchArchive) tensor(name string, p *pickledTensor) (Tensor, error) {
	t := Tensor{Name: name, DType: p.dtype, Shape: p.shape, file: a.m, bigEndian: a.bigEndian}
	n, err := elements(p.shape)
	if err != nil {
		return t, err
	}
	if len(p.strides) != len(p.shape) {
		return t, fmt.Errorf("shape %v with strides %v", p.shape, p.strides)
	}
	e := a.entries["data/"+p.key]
	if e == nil {
		return t, fmt.Errorf("its storage data/%s is missing", p.key)
	}
	storage, err := stored(a.m, e)
	if err != nil {
		return t, err
	}
	width := layouts[p.dtype].bytes
	held := len(storage) / width
	// The last element must lie in the storage. Every term is compared before
	// it is added, so that nothing overflows.
	last := p.offset
	for k, d := range p.shape {
		if s := p.strides[k]; n > 0 && d > 1 && s > 0 {
			if s > held || d-1 > held/s {
				last = held
				break
			}
			last += (d - 1) * s
		}
		if last >= held {
			break
		}
	}
	switch {
	case n > 0 && last >= held:
		return t, fmt.Errorf("shape %v, strides %v and offset %d reach beyond the %d elements of storage data/%s", p.shape, p.strides, p.offset, held, p.key)
	case n > held && n > maxExpanded:
		return t, fmt.Errorf("%d elements are expanded from a storage of %d: above the limit of %d", n, held, maxExpanded)
	case n == 0:
		return t, nil
	}
	t.data = storage[p.offset*width : (last+1)*width]
	if !isRowMajor(p.shape, p.strides) {
		t.strides = p.strides
	}
	return t, nil
}

// A walker lists the tensors of a pickled tree. The tree may share parts, so
// it is bounded by what is visited, not by what the pickle holds.
type walker struct {
	archive torchArchive
	file    *File
	nodes   int
	names   int
}

func (w *walker) walk(name string, v any, depth int) error {
	if w.nodes++; w.nodes > maxNodes || depth > maxDepth {
		return fmt.Errorf("data.pkl: the tree is too large or too deep (limits: %d values, depth %d)", maxNodes, maxDepth)
	}
	switch v := v.(type) {
	case *pickledTensor:
		if name == "" {
			name = "tensor"
		}
		if w.names += len(name); w.names > maxNames {
			return fmt.Errorf("data.pkl: the names of its tensors are above %d bytes", maxNames)
		}
		t, err := w.archive.tensor(name, v)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		w.file.Tensors = append(w.file.Tensors, t)
	case *pickledDict:
		for _, p := range v.pairs {
			if err := w.child(name, p[0], p[1], depth); err != nil {
				return err
			}
		}
	case *pickledList:
		return w.children(name, v.items, depth)
	case pickledTuple:
		return w.children(name, v, depth)
	}
	return nil
}

func (w *walker) children(name string, items []any, depth int) error {
	for i, item := range items {
		if err := w.child(name, int64(i), item, depth); err != nil {
			return err
		}
	}
	return nil
}

// child visits a value that may hold tensors; the others need no name.
func (w *walker) child(name string, key, value any, depth int) error {
	switch value.(type) {
	case *pickledTensor, *pickledDict, *pickledList, pickledTuple:
	default:
		return nil
	}
	var part string
	switch k := key.(type) {
	case string:
		part = k
	case int64:
		part = strconv.FormatInt(k, 10)
	default:
		return fmt.Errorf("data.pkl: under %q: expected a key that is a string or an integer, got %T", name, key)
	}
	if name != "" {
		part = name + "." + part
	}
	if len(part) > maxNames {
		return fmt.Errorf("data.pkl: a name of %d bytes is above the limit of %d", len(part), maxNames)
	}
	return w.walk(part, value, depth+1)
}
