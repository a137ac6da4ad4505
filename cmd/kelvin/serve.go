package main

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/kelvin-ml/kelvin/web"
)

func newServeCommand() *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use:   "serve DIR",
		Short: "Show the runs of a folder live in a browser",
		Long: `Serves a dashboard of the runs in DIR and the folders below it, and takes the
records of probes on other machines.

It listens on this machine alone unless --listen says otherwise. Beyond it every
request needs a token: the environment variable KELVIN_TOKEN, or else one that is
drawn at each start and printed.`,
		Example: `  kelvin serve runs
  KELVIN_TOKEN=… kelvin serve runs --listen :7373`,
		Args: exactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return serve(c, args[0], listen)
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:7373", "address and port; port 0 takes a free one")
	return c
}

func serve(c *cobra.Command, dir, listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return usagef("--listen %q: expected an address and a port, as in 127.0.0.1:7373", listen)
	}
	token, drawn := os.Getenv("KELVIN_TOKEN"), false
	if address, err := netip.ParseAddr(host); token == "" && host != "localhost" && (err != nil || !address.IsLoopback()) {
		token, drawn = rand.Text(), true
	}
	server, err := web.New(dir, token)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", listen, err)
	}
	address := "http://" + l.Addr().String()
	if a, ok := l.Addr().(*net.TCPAddr); ok && a.IP.IsUnspecified() {
		name, err := os.Hostname()
		if err != nil {
			name = "localhost"
		}
		address = fmt.Sprintf("http://%s:%d", name, a.Port)
	}
	switch {
	case drawn:
		address += "/?token=" + token
	case token != "":
		address += " (it asks for the token of KELVIN_TOKEN)" // which is not ours to show
	}
	fmt.Fprintf(c.OutOrStdout(), "runs of %s: %s\n", dir, address)
	return server.Serve(c.Context(), l)
}
