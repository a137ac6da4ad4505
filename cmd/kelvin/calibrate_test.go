package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeNPY writes little-endian numbers of a dtype as numpy does.
func writeNPY(t *testing.T, path, dtype, shape string, data any) {
	t.Helper()
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", dtype, shape)
	header += strings.Repeat(" ", 63-(10+len(header))%64) + "\n"
	var b bytes.Buffer
	b.WriteString("\x93NUMPY\x01\x00")
	if err := binary.Write(&b, binary.LittleEndian, uint16(len(header))); err != nil {
		t.Fatal(err)
	}
	b.WriteString(header)
	if err := binary.Write(&b, binary.LittleEndian, data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestCalibrateFiles reads labels that were drawn at a known temperature, in the
// fields of the document that scripts rely on.
func TestCalibrateFiles(t *testing.T) {
	dir := t.TempDir()
	z, y := filepath.Join(dir, "z.npy"), filepath.Join(dir, "y.npy")
	const n, k, temperature = 3000, 5, 2.0
	r := rand.New(rand.NewPCG(1, 1))
	logits, labels := make([]float32, n*k), make([]int64, n)
	for i := range labels {
		sum, p := 0.0, make([]float64, k)
		for j := range k {
			logits[i*k+j] = float32(3 * r.NormFloat64())
			p[j] = math.Exp(float64(logits[i*k+j]) / temperature)
			sum += p[j]
		}
		u := r.Float64() * sum
		for j := range k {
			if labels[i] = int64(j); u < p[j] {
				break
			}
			u -= p[j]
		}
	}
	writeNPY(t, z, "<f4", fmt.Sprintf("%d, %d", n, k), logits)
	writeNPY(t, y, "<i8", fmt.Sprintf("%d,", n), labels)
	page := filepath.Join(dir, "page.html")
	var out, errs bytes.Buffer
	if status := run([]string{"calibrate", "--logits", z, "--labels", y, "--json", "--html", page}, &out, &errs); status != 0 {
		t.Fatal(status, errs.String())
	}
	var d struct {
		Schema      string
		Temperature struct{ Value, StdErr, Low, High float64 }
		NLL, ECE    struct{ Before, After float64 }
		N           int
		Findings    []struct{ ID string }
	}
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Schema != schema || d.N != n || math.Abs(d.Temperature.Value-temperature) > 4*d.Temperature.StdErr || d.Temperature.Low > temperature || d.Temperature.High < temperature ||
		d.NLL.Before <= d.NLL.After || d.ECE.Before <= d.ECE.After || len(d.Findings) != 1 || d.Findings[0].ID != "too-sure" {
		t.Errorf("%+v", d)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "Reliability") {
		t.Error("the page has no reliability", err)
	}
	out.Reset()
	if status := run([]string{"decode-temperature", "--logits", z, "--tokens", y, "--json"}, &out, &errs); status != 0 {
		t.Fatal(status, errs.String())
	}
	var decoded struct {
		Temperature struct{ Value, StdErr float64 }
		Truncation  struct{ Kind string }
	}
	if err := json.Unmarshal(out.Bytes(), &decoded); err != nil || decoded.Truncation.Kind != "none" || math.Abs(decoded.Temperature.Value-d.Temperature.Value) > 1e-3 {
		t.Errorf("%+v, %v", decoded, err)
	}
	// What is not finite, and rows that are missing, are named.
	logits[7] = float32(math.NaN())
	writeNPY(t, z, "<f4", fmt.Sprintf("%d, %d", n, k), logits)
	errs.Reset()
	if status := run([]string{"calibrate", "--logits", z, "--labels", y}, &out, &errs); status != 1 || !strings.Contains(errs.String(), "row 1: logit 2 is NaN") {
		t.Error(status, errs.String())
	}
	writeNPY(t, z, "<f4", fmt.Sprintf("%d, %d", n-1, k), logits[k:])
	errs.Reset()
	if status := run([]string{"calibrate", "--logits", z, "--labels", y}, &out, &errs); status != 1 || !strings.Contains(errs.String(), "got 2999 rows and 3000 labels") {
		t.Error(status, errs.String())
	}
	writeNPY(t, z, "<f4", fmt.Sprintf("%d, %d", n, k), logits[:10])
	errs.Reset()
	if status := run([]string{"calibrate", "--logits", z, "--labels", y}, &out, &errs); status != 1 || !strings.Contains(errs.String(), "needs 60000 bytes") {
		t.Error(status, errs.String())
	}
}
