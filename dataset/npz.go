package dataset

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names under which an npz file may keep its features and answers; the first
// that is there is taken.
var (
	featureNames = []string{"x", "X", "inputs", "features", "data", "images", "x_train", "X_train", "arr_0"}
	answerNames  = []string{"y", "Y", "labels", "label", "targets", "target", "y_train", "arr_1"}
)

// openNPZ reads a zip archive of npy files, as numpy.savez writes it.
func openNPZ(path string) (*Set, error) {
	size, err := regularSize(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	return parseNPZ(f, size)
}

const notNPZ = "expected an npz file (a zip archive of npy files)"

func parseNPZ(r io.ReaderAt, size int64) (*Set, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", notNPZ, err)
	}
	x, err := pick(archive, featureNames)
	if err != nil {
		return nil, err
	}
	if x == nil {
		return nil, fmt.Errorf("expected an array named %s; the file holds %s", strings.Join(featureNames, ", "), members(archive))
	}
	y, err := pick(archive, answerNames)
	if err != nil {
		return nil, err
	}
	s, err := assemble(x, y, false)
	if err != nil {
		return nil, err
	}
	return s, s.readAlphabet(archive)
}

// OpenArray reads an array of an npz file by its name, as numbers, row-major;
// without an array of that name the shape is nil.
func OpenArray(path, name string) (values []float64, shape []int, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("reading %s: %w", path, err)
		}
	}()
	size, err := regularSize(path)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, bare(err)
	}
	defer f.Close()
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", notNPZ, err)
	}
	a, err := pick(archive, []string{name})
	if err != nil || a == nil {
		return nil, nil, err
	}
	values = make([]float64, a.len())
	for i := range values {
		values[i] = a.float64(i)
	}
	return values, append([]int{}, a.shape...), nil
}

// readAlphabet reads the characters of the tokens, where the file tells them.
func (s *Set) readAlphabet(archive *zip.Reader) error {
	a, err := pick(archive, []string{"alphabet"})
	if err != nil || a == nil {
		return err
	}
	points, err := a.labels()
	if err != nil {
		return err
	}
	s.Alphabet = points
	return nil
}

// pick reads the first array of the archive that has one of the names.
func pick(archive *zip.Reader, names []string) (*array, error) {
	for _, name := range names {
		i := slices.IndexFunc(archive.File, func(f *zip.File) bool { return f.Name == name+".npy" })
		if i < 0 {
			continue
		}
		f := archive.File[i]
		r, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
		data, err := readBounded(r, int64(f.CompressedSize64))
		if err = errors.Join(err, r.Close()); err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
		return parseNPY(name, data)
	}
	return nil, nil
}

func members(archive *zip.Reader) string {
	var names []string
	for _, f := range archive.File {
		if len(names) == 10 {
			names = append(names, "…")
			break
		}
		names = append(names, fmt.Sprintf("%.40q", strings.TrimSuffix(f.Name, ".npy")))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

// Compressed data may grow to freeExpansion bytes, and beyond that to
// maxExpansion times its own size: images and one-hot codes stay far below,
// decompression bombs are some 1,000 to 1.
const (
	freeExpansion = 64 << 20
	maxExpansion  = 100
)

// readBounded reads all of r, which decompresses the given number of bytes.
func readBounded(r io.Reader, compressed int64) ([]byte, error) {
	limit := max(freeExpansion, maxExpansion*compressed)
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%d compressed bytes expand to more than %d: refused as a decompression bomb", compressed, limit)
	}
	return data, nil
}

// readFile reads a regular file whole, decompressed if its name ends in .gz.
func readFile(path string) ([]byte, error) {
	if _, err := regularSize(path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, bare(err)
	}
	if !strings.HasSuffix(strings.ToLower(path), ".gz") {
		return data, nil
	}
	return gunzip(data)
}

func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("expected gzip data: %w", err)
	}
	return readBounded(r, int64(len(data)))
}

// regularSize refuses devices and pipes, which may never end.
func regularSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, bare(err)
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("expected a regular file")
	}
	return info.Size(), nil
}

// bare strips the path from an error that the caller will prefix with it.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// An Array is one named array to write: Data is []float32, []float64, []int32
// or []int64, row-major, of the given shape.
type Array struct {
	Name  string
	Shape []int
	Data  any
}

// WriteArrays writes arrays as an npz file that numpy.load reads, uncompressed.
// The file appears whole or not at all: it is written beside path, synced, and
// renamed.
func WriteArrays(path string, arrays []Array) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", path, bare(err))
		}
	}()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails, as it should, once renamed
	defer f.Close()
	archive := zip.NewWriter(f)
	for _, a := range arrays {
		var encoded bytes.Buffer
		if err := appendNPY(&encoded, a.Shape, a.Data); err != nil {
			return fmt.Errorf("array %q: %w", a.Name, err)
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if _, err := encoded.WriteTo(w); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// WriteNPZ writes the set as arrays x (float32, or int64 if that is how the
// features were stored, N × Shape), y (int64 labels [N], or [N, Positions] called
// labels; or float32 targets [N, Outputs]), and alphabet (int32).
func (s *Set) WriteNPZ(path string) error {
	var x any = s.X
	if s.DType == "int64" {
		x = convert[int64](s.X)
	}
	arrays := []Array{{"x", append([]int{s.N}, s.Shape...), x}}
	switch {
	case s.Labels != nil && s.Positions() == 1:
		arrays = append(arrays, Array{"y", []int{s.N}, convert[int64](s.Labels)})
	case s.Labels != nil:
		arrays = append(arrays, Array{"labels", []int{s.N, s.Positions()}, convert[int64](s.Labels)})
	case s.Y != nil:
		arrays = append(arrays, Array{"y", []int{s.N, s.Outputs}, s.Y})
	}
	if s.Alphabet != nil {
		arrays = append(arrays, Array{"alphabet", []int{len(s.Alphabet)}, s.Alphabet})
	}
	return WriteArrays(path, arrays)
}

func convert[To, From int32 | int64 | float32](from []From) []To {
	to := make([]To, len(from))
	for i, x := range from {
		to[i] = To(x)
	}
	return to
}
