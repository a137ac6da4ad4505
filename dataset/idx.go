package dataset

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// parseIDX reads the format of the MNIST files: two zero bytes, a type, the
// number of axes, a big-endian uint32 per axis, then the elements, big-endian
// (http://yann.lecun.com/exdb/mnist/).
func parseIDX(name string, data []byte) (*array, error) {
	fail := func(format string, args ...any) (*array, error) {
		return nil, fmt.Errorf("array %q: "+format, append([]any{name}, args...)...)
	}
	if len(data) < 4 || data[0] != 0 || data[1] != 0 {
		return fail("expected an IDX file (it begins with two zero bytes)")
	}
	types := map[byte]dtype{0x08: {'u', 1, nil}, 0x09: {'i', 1, nil}, 0x0B: {'i', 2, nil},
		0x0C: {'i', 4, nil}, 0x0D: {'f', 4, nil}, 0x0E: {'f', 8, nil}}
	d, known := types[data[2]]
	if !known {
		return fail("expected an IDX type 0x08, 0x09 or 0x0B to 0x0E, got %#02x", data[2])
	}
	d.order = binary.BigEndian
	axes := int(data[3])
	if axes == 0 || axes > 32 {
		return fail("expected 1 to 32 axes, got %d", axes)
	}
	if len(data) < 4+4*axes {
		return fail("truncated: %d axes need %d bytes of header, got %d", axes, 4+4*axes, len(data))
	}
	shape := make([]int, axes)
	for i := range shape {
		shape[i] = int(binary.BigEndian.Uint32(data[4+4*i:]))
	}
	raw := data[4+4*axes:]
	need, ok := sizeOf(shape, d.size)
	if !ok || need != len(raw) {
		return fail("shape %v of %s needs %s bytes of data, got %d", shape, d.name(), claim(need, ok), len(raw))
	}
	return &array{name: name, dtype: d, shape: shape, raw: raw}, nil
}

// siblingLabels names the labels that belong to images by the MNIST convention,
// or "" when there is no such file.
func siblingLabels(path string) string {
	dir, name := filepath.Split(path)
	labels := strings.NewReplacer("images-idx3", "labels-idx1", "images.idx3", "labels.idx1").Replace(name)
	if labels == name {
		return ""
	}
	for _, candidate := range []string{labels, labels + ".gz", strings.TrimSuffix(labels, ".gz")} {
		if _, err := os.Stat(dir + candidate); err == nil {
			return dir + candidate
		}
	}
	return ""
}
