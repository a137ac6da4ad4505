package checkpoint

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// parseZip opens a zip archive: NumPy's or PyTorch's.
func (f *File) parseZip(m *mapping) error {
	archive, err := zip.NewReader(bytes.NewReader(m.data), int64(len(m.data)))
	if err != nil {
		return fmt.Errorf("zip archive: %w", err)
	}
	for _, e := range archive.File {
		if e.Name == "data.pkl" || strings.HasSuffix(e.Name, "/data.pkl") {
			f.Format = "pytorch"
			return f.parsePyTorch(m, archive, strings.TrimSuffix(e.Name, "data.pkl"))
		}
	}
	f.Format = "npz"
	return f.parseNPZ(m, archive)
}

// stored returns the bytes of an entry that is not compressed.
func stored(m *mapping, e *zip.File) ([]byte, error) {
	if e.Method != zip.Store {
		return nil, fmt.Errorf("%s: expected it to be stored without compression, got method %d", e.Name, e.Method)
	}
	begin, err := e.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Name, err)
	}
	size := e.UncompressedSize64
	if begin < 0 || uint64(begin) > uint64(len(m.data)) || size > uint64(len(m.data))-uint64(begin) {
		return nil, fmt.Errorf("%s: %d bytes at offset %d are outside the file", e.Name, size, begin)
	}
	return m.data[begin : uint64(begin)+size : uint64(begin)+size], nil
}

const (
	// maxDeflate is the largest factor by which deflate can shrink data.
	maxDeflate = 1032
	// Above bombSize bytes, real weights shrink by less than bombFactor.
	bombSize   = 256 << 20
	bombFactor = 100
)

// checkDeflated refuses an entry that claims to unpack to more than it can,
// or is made to fill the memory.
func checkDeflated(e *zip.File) error {
	if e.Method != zip.Deflate {
		return fmt.Errorf("%s: unknown compression method %d", e.Name, e.Method)
	}
	if e.UncompressedSize64/maxDeflate > e.CompressedSize64 {
		return fmt.Errorf("%s: %d compressed bytes cannot hold %d", e.Name, e.CompressedSize64, e.UncompressedSize64)
	}
	if e.UncompressedSize64 > bombSize && e.UncompressedSize64/bombFactor > e.CompressedSize64 {
		return fmt.Errorf("%s: %d compressed bytes unpack to %d: refused as a zip bomb (more than %d-fold)", e.Name, e.CompressedSize64, e.UncompressedSize64, bombFactor)
	}
	return nil
}

// skipping opens an entry at an offset into its content.
func skipping(e *zip.File, offset int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		r, err := e.Open()
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, r, offset); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		return r, nil
	}
}
