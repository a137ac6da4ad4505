package power

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PowercapRoot is where Linux shows the energy counters of its CPUs.
const PowercapRoot = "/sys/class/powercap"

// A Powercap reads the energy counters (RAPL) of the CPUs: of every package,
// and of the memory, which is not in them. Cores and graphics, which are in their
// package, and the platform, which has everything in it, are left out, so nothing
// counts twice.
type Powercap struct{ zones []zone }

type zone struct {
	name, path string
	wrap       uint64 // µJ at which the counter starts again
}

// OpenPowercap finds the counters under root, PowercapRoot say. Where there are
// none, or they may not be read, it is an error that says so.
func OpenPowercap(root string) (*Powercap, error) {
	folders, err := filepath.Glob(filepath.Join(root, "intel-rapl:*"))
	if err != nil {
		return nil, fmt.Errorf("finding powercap counters: %w", err)
	}
	names := map[string]string{}
	p := &Powercap{}
	for _, folder := range folders {
		text, err := os.ReadFile(filepath.Join(folder, "name"))
		if err != nil {
			return nil, fmt.Errorf("finding powercap counters: %w", err)
		}
		name, zoneID := strings.TrimSpace(string(text)), strings.TrimPrefix(filepath.Base(folder), "intel-rapl:")
		names[zoneID] = name
		parent, _, nested := strings.Cut(zoneID, ":")
		switch {
		case nested && name == "dram": // the parent sorts before its parts
			name = names[parent] + " dram"
		case nested || name == "psys":
			continue
		}
		wrap, err := counter(filepath.Join(folder, "max_energy_range_uj"))
		if err != nil {
			return nil, err
		}
		if wrap == 0 {
			return nil, fmt.Errorf("reading %s: expected the largest count, got 0", filepath.Join(folder, "max_energy_range_uj"))
		}
		p.zones = append(p.zones, zone{name, filepath.Join(folder, "energy_uj"), wrap})
	}
	if len(p.zones) == 0 {
		return nil, fmt.Errorf("no powercap counters under %s: expected folders intel-rapl:N (a virtual machine, a container or a CPU without RAPL has none)", root)
	}
	_, err = p.read()
	return p, err
}

// Devices names what the counters count: "package-0", "package-0 dram".
func (p *Powercap) Devices() []string {
	names := make([]string, len(p.zones))
	for i, z := range p.zones {
		names[i] = z.name
	}
	return names
}

// WriteCSV writes one reading of every device, as ReadCSV reads it: the mean power
// since the reading before. The first must come with the column names.
func WriteCSV(w io.Writer, head bool, at time.Time, devices []string, watts []float64) error {
	var text strings.Builder
	if head {
		text.WriteString("timestamp, index, " + counterColumn + " [W]\n")
	}
	for i, name := range devices {
		fmt.Fprintf(&text, "%s, %s, %.6f W\n", at.UTC().Format("2006-01-02T15:04:05.000000Z"), name, watts[i])
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// read reads every counter, in µJ.
func (p *Powercap) read() ([]uint64, error) {
	counts := make([]uint64, len(p.zones))
	for i, z := range p.zones {
		n, err := counter(z.path)
		if err != nil {
			return nil, err
		}
		counts[i] = n
	}
	return counts, nil
}

func counter(path string) (uint64, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("reading energy needs root: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("reading energy: %w", err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading %s: expected a count of microjoules, got %.40q", path, text)
	}
	return n, nil
}

// Sample reads the counters at once, every interval, and when ctx ends, which is
// no error, and returns one trace for each. A counter that started again between
// two readings is seen, once: the interval must be shorter than it takes to wrap
// (minutes, under full load). If a counter fails, the traces so far come with the
// error. each, when not nil, is called with every reading: its time, and the mean power of
// every trace since the reading before (zero of the first).
func (p *Powercap) Sample(ctx context.Context, interval time.Duration, each func(at time.Time, watts []float64) error) ([]Trace, error) {
	if interval <= 0 {
		return nil, fmt.Errorf("interval %v: expected a positive time", interval)
	}
	traces := make([]Trace, len(p.zones))
	for i, z := range p.zones {
		traces[i] = Trace{Device: z.name, Counter: true}
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	start := time.Now()
	var last []uint64
	var before time.Duration
	watts := make([]float64, len(p.zones))
	for done := false; ; {
		counts, err := p.read()
		if err != nil {
			return traces, err
		}
		elapsed := time.Since(start) // by the monotonic clock
		for i, z := range p.zones {
			if watts[i] = 0; last != nil {
				watts[i] = float64(grown(last[i], counts[i], z.wrap)) / 1e6 / max((elapsed-before).Seconds(), 1e-6)
			}
			t := &traces[i]
			t.Time, t.Watts = append(t.Time, float64(start.UnixMicro())/1e6+elapsed.Seconds()), append(t.Watts, watts[i])
		}
		if each != nil {
			if err := each(start.Add(elapsed), watts); err != nil {
				return traces, err
			}
		}
		if done {
			return traces, nil
		}
		last, before = counts, elapsed
		select {
		case <-ticker.C:
		case <-ctx.Done():
			done = true
		}
	}
}

// grown returns how far a counter went that starts again after wrap.
func grown(from, to, wrap uint64) uint64 {
	if to >= from {
		return to - from
	}
	return to + max(wrap, from) - from
}
