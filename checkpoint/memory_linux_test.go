package checkpoint

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestStreamingMemory reads a tensor of 512 MB through a window: mapped pages
// that were read are handed back, so they never add up.
func TestStreamingMemory(t *testing.T) {
	const n = 1 << 27
	header := fmt.Sprintf(`{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, n, 4*n)
	path := writeTemp(t, "w.safetensors", encode(header, 0))
	if err := os.Truncate(path, int64(8+len(header)+4*n)); err != nil { // zeros that take no disk
		t.Fatal(err)
	}
	f := open(t, path)
	before := memory(t, "VmRSS")
	for _, err := range f.Tensors[0].Blocks() {
		if err != nil {
			t.Fatal(err)
		}
	}
	m, err := f.Tensors[0].Moments(t.Context())
	if err != nil || m.N != n || m.RMS != 0 {
		t.Errorf("got %+v, %v", m, err)
	}
	if peak := memory(t, "VmHWM"); peak > before+100<<10 {
		t.Errorf("peak memory grew from %d to %d MB", before>>10, peak>>10)
	}
}

// memory returns a line of /proc/self/status, in kilobytes.
func memory(t *testing.T, field string) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("SKIP: no /proc/self/status")
	}
	kilobytes, err := strconv.Atoi(string(regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(status)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes
}
