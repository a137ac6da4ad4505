package trajectory

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kelvin-ml/kelvin/checkpoint"
)

func save(t *testing.T, path string, values ...float32) *checkpoint.File {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	err := checkpoint.WriteSafetensors(path, []checkpoint.Named{
		{Name: "a.weight", Shape: []int{1, 2}, F32: values[:2]}, {Name: "a.bias", Shape: []int{1}, F32: values[2:3]},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestLayers(t *testing.T) {
	dir := t.TempDir()
	first := save(t, dir+"/step-1.safetensors", 1, 2, 3)
	before := save(t, dir+"/step-2.safetensors", 2, 2, 3)
	now := save(t, dir+"/step-3.safetensors", 2, 4, 4)
	layers, err := Layers(context.Background(), first, before, now)
	if err != nil {
		t.Fatal(err)
	}
	l := layers[0]
	if len(layers) != 1 || l.Name != "a" || l.Parameters != 3 || l.Weight2 != 36 || l.Displacement2 != 6 || l.Moved2 != 5 || l.Largest.Name != "a.weight" {
		t.Errorf("%+v", layers)
	}
	broken := save(t, dir+"/step-4.safetensors", 1, float32(math.Inf(1)), 1)
	if _, err := Layers(context.Background(), first, before, broken); err == nil || !strings.Contains(err.Error(), `tensor "a.weight": it holds values that are not finite`) {
		t.Error(err)
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"checkpoint-500/model.safetensors", "checkpoint-1000/model.safetensors", "epoch=3-step=1200.safetensors", "iter_0000007.safetensors", "model_2.safetensors"} {
		save(t, filepath.Join(dir, name), 1, 2, 3)
	}
	for _, name := range []string{"checkpoint-500/optimizer.pt", "notes.txt", "optimizer-1000.pt", "empty/x.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int64
	for _, p := range list {
		steps = append(steps, p.Step)
	}
	want := []int64{2, 7, 500, 1000, 1200}
	if len(steps) != len(want) {
		t.Fatalf("%v, expected %v", steps, want)
	}
	for i := range want {
		if steps[i] != want[i] {
			t.Fatalf("%v, expected %v", steps, want)
		}
	}
	save(t, dir+"/step-7.safetensors", 1, 2, 3)
	if _, err := Find(dir); err == nil || !strings.Contains(err.Error(), "both of step 7") {
		t.Error(err)
	}
	other := t.TempDir()
	save(t, other+"/final.safetensors", 1, 2, 3)
	if _, err := Find(other); err == nil || !strings.Contains(err.Error(), "expected a step in its name") {
		t.Error(err)
	}
}
