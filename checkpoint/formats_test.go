package checkpoint

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReferences reads files written by NumPy, PyTorch and the safetensors
// package (testdata/make_*.py).
func TestReferences(t *testing.T) {
	for path, values := range map[string]string{
		"reference.npz":  "reference.npz.json",
		"compressed.npz": "reference.npz.json",
		"reference.pt":   "reference.pt.json",
	} {
		t.Run(path, func(t *testing.T) {
			compare(t, open(t, "testdata/"+path), readReference(t, "testdata/"+values))
		})
	}
}

// TestReferenceGGUF compares with the dequantisers of the gguf package, to the
// last bit.
func TestReferenceGGUF(t *testing.T) {
	f := open(t, "testdata/reference.gguf")
	raw, err := os.ReadFile("testdata/reference.gguf.f32")
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float32, len(raw)/4)
	decodeF32(want, raw)
	shapes := map[string]string{"f32": "[3 4]", "f16": "[2 3 4]", "bf16": "[3 64]", "q8_0": "[3 64]", "q4_0": "[3 64]", "q4_k": "[2 512]", "q6_k": "[2 512]"}
	if len(f.Tensors) != len(shapes) {
		t.Errorf("got %d tensors, want %d", len(f.Tensors), len(shapes))
	}
	for _, tensor := range f.Tensors {
		if got := fmt.Sprint(tensor.Shape); got != shapes[tensor.Name] || tensor.DType != strings.ToUpper(tensor.Name) {
			t.Errorf("%s: %s of shape %s, want %s", tensor.Name, tensor.DType, got, shapes[tensor.Name])
		}
		got := make([]float32, tensor.Len())
		if err := tensor.Float32(got); err != nil {
			t.Fatal(err)
		}
		for i, x := range got {
			if math.Float32bits(x) != math.Float32bits(want[i]) && (x != 0 || want[i] != 0) {
				t.Fatalf("%s[%d] = %v, want %v", tensor.Name, i, x, want[i])
			}
		}
		want = want[len(got):]
	}
	for key, value := range map[string]string{"note": "made for a test", "third": "0.33333334", "minus": "-5", "list": "[2 values]", "general.architecture": "test"} {
		if f.Metadata[key] != value {
			t.Errorf("metadata %s = %q, want %q", key, f.Metadata[key], value)
		}
	}
}

// TestTorchNow has the installed PyTorch write the files of TestReferences anew.
func TestTorchNow(t *testing.T) {
	program, err := os.ReadFile("testdata/make_pytorch.py")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script(t, string(program), dir)
	compare(t, open(t, filepath.Join(dir, "reference.pt")), readReference(t, filepath.Join(dir, "reference.pt.json")))
}

func TestTorchLegacy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "old.pt")
	script(t, `import sys, torch; torch.save({"w": torch.ones(2)}, sys.argv[1], _use_new_zipfile_serialization=False)`, path)
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "before PyTorch 1.6") {
		t.Errorf("got %v", err)
	}
}

func TestIndex(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, tensors ...Named) {
		t.Helper()
		if err := WriteSafetensors(filepath.Join(dir, name), tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
	one := func(name string, x float32) Named { return Named{Name: name, Shape: []int{1}, F32: []float32{x}} }
	write("a.safetensors", one("x", 1), one("left out", 9))
	write("b.safetensors", one("y", 2), one("z", 3))
	index := filepath.Join(dir, "model.safetensors.index.json")
	put := func(content string) {
		t.Helper()
		if err := os.WriteFile(index, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put(`{"metadata":{"total_size":12},"weight_map":{"z":"b.safetensors","x":"a.safetensors","y":"b.safetensors"}}`)
	for _, path := range []string{index, dir} {
		f := open(t, path)
		var got []string
		for _, tensor := range f.Tensors {
			x := make([]float32, 1)
			if err := tensor.Float32(x); err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(tensor.Name, x))
		}
		if fmt.Sprint(got) != "[y[2] z[3] x[1]]" || f.Metadata["total_size"] != "12" || f.Format != "safetensors" {
			t.Errorf("got %v, metadata %v, format %s", got, f.Metadata, f.Format)
		}
	}
	for content, want := range map[string]string{
		`{"weight_map":{"x":"b.safetensors"}}`:                     `b.safetensors has no tensor "x"`,
		`{"weight_map":{"x":"../a.safetensors"}}`:                  "beside the index",
		`{"weight_map":{"x":"/etc/passwd"}}`:                       "beside the index",
		`{"weight_map":{"x":".."}}`:                                "beside the index",
		`{"weight_map":{"x":"absent"}}`:                            "no such file",
		`{"weight_map":{"x":"model.safetensors.index.json"}}`:      "got an index",
		`{"weight_map":{"x":"a.safetensors","x":"a.safetensors"}}`: "two tensors",
		`{"weight_map":{}}`:                                        "expected a weight_map",
		`{"weight_map":[]}`:                                        "expected an object",
		`{"other":1}`:                                              "unknown key",
		`{"weight_map":{"x":"a.safetensors"}`:                      "not valid JSON",
	} {
		put(content)
		if _, err := Open(index); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "expected the folder to hold") {
		t.Errorf("an empty folder: %v", err)
	}
}

// ggufBuilder writes GGUF headers for tests.
type ggufBuilder struct{ bytes.Buffer }

func (b *ggufBuilder) put(values ...any) *ggufBuilder {
	for _, v := range values {
		if s, ok := v.(string); ok {
			b.put(uint64(len(s)))
			b.WriteString(s)
			continue
		}
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b
}

func newGGUF(version uint32, tensors, pairs uint64) *ggufBuilder {
	b := &ggufBuilder{}
	b.WriteString("GGUF")
	return b.put(version, tensors, pairs)
}

func TestGGUFRefuses(t *testing.T) {
	u32, u64 := func(x int) uint32 { return uint32(x) }, func(x int) uint64 { return uint64(x) }
	tests := map[string]*ggufBuilder{
		"GGUF version 1:":                     newGGUF(1, 0, 0),
		"little-endian":                       newGGUF(3<<24, 0, 0),
		"truncated":                           newGGUF(3, 1<<60, 0),
		"truncated: a metadata key":           newGGUF(3, 0, 1).put(u64(1 << 62)),
		"unknown type 13":                     newGGUF(3, 0, 1).put("k", u32(13)),
		"does not fit the file":               newGGUF(3, 0, 1).put("k", u32(ggufArray), u32(ggufFloat64), u64(1<<61)),
		"nested too deep":                     newGGUF(3, 0, 1).put("k", u32(9), u32(9), u64(1), u32(9), u64(1), u32(9), u64(1), u32(9), u64(1), u32(9), u64(1), u32(9), u64(1)),
		"dimensions are above":                newGGUF(3, 1, 0).put("w", u32(1<<30)),
		"out of range":                        newGGUF(3, 1, 0).put("w", u32(1), uint64(1<<63), u32(0), u64(0)),
		"too many elements":                   newGGUF(3, 1, 0).put("w", u32(2), u64(1<<40), u64(1<<40), u32(0), u64(0)),
		`"w": unknown type 5`:                 newGGUF(3, 1, 0).put("w", u32(1), u64(4), u32(5), u64(0)),
		"do not fill blocks of 32":            newGGUF(3, 1, 0).put("w", u32(2), u64(16), u64(2), u32(8), u64(0), [256]byte{}),
		"not a multiple of the alignment":     newGGUF(3, 1, 0).put("w", u32(1), u64(4), u32(0), u64(8), [256]byte{}),
		"truncated or damaged":                newGGUF(3, 1, 0).put("w", u32(1), u64(400), u32(0), u64(0), [256]byte{}),
		"overlaps":                            newGGUF(3, 2, 0).put("w", u32(1), u64(16), u32(0), u64(0), "v", u32(1), u64(4), u32(0), u64(32), [256]byte{}),
		`two tensors are called "w"`:          newGGUF(3, 2, 0).put("w", u32(1), u64(4), u32(0), u64(0), "w", u32(1), u64(4), u32(0), u64(32), [256]byte{}),
		"general.alignment: expected a power": newGGUF(3, 0, 1).put("general.alignment", u32(ggufUint32), u32(0)),
	}
	for want, file := range tests {
		if err := openContent(file.Bytes()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// openContent opens content as a file would be.
func openContent(content []byte) error {
	m := &mapping{path: "memory", data: content}
	return (&File{Path: "memory"}).parse(m)
}

// archiveOf builds a zip archive of names and contents.
func archiveOf(method uint16, files ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		e, err := w.CreateHeader(&zip.FileHeader{Name: files[i], Method: method})
		if err != nil {
			panic(err)
		}
		if _, err := e.Write([]byte(files[i+1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// npy builds an array with the given header.
func npy(header string, data int) string {
	length := binary.LittleEndian.AppendUint16(nil, uint16(len(header)))
	return "\x93NUMPY\x01\x00" + string(length) + header + string(make([]byte, data))
}

func TestNPZRefuses(t *testing.T) {
	const good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
	if err := openContent(archiveOf(zip.Store, "a.npy", npy(good, 8))); err != nil {
		t.Fatal(err)
	}
	for header, want := range map[string]string{
		"": "expected '{'",
		"{'descr': '<f4', 'fortran_order': False}":                                                "expected descr, fortran_order and shape",
		"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}":                        "structured arrays",
		"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,)}":                                 "True or False",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,)}":                                "expected a dimension",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (2,":                                   "expected",
		"{'descr': '<f4', 'descr': '<f4'}":                                                        "given twice",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}":                                 "needs",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}": "too many elements",
		"{'descr': '<f4', 'fortran_order': True, 'shape': (0, 4294967296, 4294967296)}":           "too many elements",
		"{'descr': '', 'fortran_order': False, 'shape': (2,)}":                                    "not empty",
		"{'other': '<f4'}": "unknown key",
	} {
		for _, method := range []uint16{zip.Store, zip.Deflate} {
			err := openContent(archiveOf(method, "a.npy", npy(header, 8)))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `array "a"`) {
				t.Errorf("%s: got %v, want %q", header, err, want)
			}
		}
	}
	for want, files := range map[string][]string{
		"got \"a.txt\"":              {"a.txt", "x"},
		"in NumPy's format":          {"a.npy", "x"},
		"two tensors are called \"a": {"a.npy", npy(good, 8), "a.npy", npy(good, 8)},
		"header inside the array":    {"a.npy", "\x93NUMPY\x02\x00\xff\xff\xff\xff   "},
	} {
		if err := openContent(archiveOf(zip.Store, files...)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if err := openContent([]byte("PK\x03\x04 and no more")); err == nil || !strings.Contains(err.Error(), "zip archive") {
		t.Errorf("truncated archive: %v", err)
	}
}

// TestZipBomb unpacks 512 MB of zeros from half a megabyte.
func TestZipBomb(t *testing.T) {
	for size, want := range map[uint64]string{512 << 20: "zip bomb", 1 << 40: "cannot hold"} {
		e := &zip.File{FileHeader: zip.FileHeader{Name: "a.npy", Method: zip.Deflate, CompressedSize64: 512 << 10, UncompressedSize64: size}}
		if err := checkDeflated(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d bytes: got %v, want %q", size, err, want)
		}
	}
}

// TestNPZChecksum damages a compressed array; reading it must fail.
func TestNPZChecksum(t *testing.T) {
	content, err := os.ReadFile("testdata/compressed.npz")
	if err != nil {
		t.Fatal(err)
	}
	directory := bytes.Index(content, []byte("PK\x01\x02"))
	content[directory+16] ^= 1 // the CRC of the first entry
	f := open(t, writeTemp(t, "x.npz", content))
	if err := f.Tensors[0].Float64(make([]float64, 12)); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("got %v", err)
	}
}

func FuzzGGUF(f *testing.F) {
	content, err := os.ReadFile("testdata/reference.gguf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add(newGGUF(3, 1, 1).put("k", uint32(4), uint32(7), "w", uint32(1), uint64(32), uint32(8), uint64(0), [128]byte{}).Bytes())
	f.Fuzz(checkContent)
}

func FuzzZip(f *testing.F) {
	for _, name := range []string{"reference.npz", "compressed.npz", "reference.pt"} {
		content, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Fuzz(checkContent)
}

// FuzzNPY varies the header alone, which a fuzzer cannot reach through zip.
func FuzzNPY(f *testing.F) {
	f.Add("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1,), }", 8, true)
	f.Add("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3, 1), }", 48, false)
	f.Fuzz(func(t *testing.T, header string, data int, deflate bool) {
		if len(header) > 1000 || data < 0 || data > 10000 {
			return
		}
		method := zip.Store
		if deflate {
			method = zip.Deflate
		}
		checkContent(t, archiveOf(method, "a.npy", npy(header, data)))
	})
}

// FuzzPickle varies the pickle of a PyTorch file alone.
func FuzzPickle(f *testing.F) {
	archive, err := zip.OpenReader("testdata/reference.pt")
	if err != nil {
		f.Fatal(err)
	}
	defer archive.Close()
	entry, err := archive.Open("reference/data.pkl")
	if err != nil {
		f.Fatal(err)
	}
	var program bytes.Buffer
	if _, err := program.ReadFrom(entry); err != nil {
		f.Fatal(err)
	}
	f.Add(program.String())
	for _, p := range pickles {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, program string) {
		checkContent(t, archiveOf(zip.Store, "x/data.pkl", program, "x/data/0", string(make([]byte, 48)), "x/data/1", string(make([]byte, 12))))
	})
}

// FuzzIndex reads an index without opening the shards it names.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":12},"weight_map":{"z":"b.safetensors","x":"a.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"x":"../a"}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		shardOf, shards, err := (&File{}).parseWeightMap(content)
		if err != nil {
			return
		}
		if len(shardOf) == 0 || len(shards) == 0 {
			t.Fatal("an index without tensors was accepted")
		}
		for _, s := range shards {
			if strings.ContainsAny(s, "/\x00") || s == ".." || s == "." {
				t.Fatalf("the shard %q is not beside the index", s)
			}
		}
	})
}
