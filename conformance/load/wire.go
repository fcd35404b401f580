package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// ioTimeout bounds one request; a server that hangs ends the run with an error.
const ioTimeout = 30 * time.Second

// A wire is a keep-alive connection that sends requests made beforehand and
// reads of an answer what a load generator needs. net/http's client takes 60 to
// 100 µs for a request on the processors that the server shares, which would
// make every server look alike.
type wire struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
	body    []byte // of the last answer, until the next
}

// do sends a request and returns the answer's status. The body is in w.body.
func (w *wire) do(ctx context.Context, request []byte) (status int, err error) {
	if w.conn == nil {
		if w.conn, err = new(net.Dialer).DialContext(ctx, "tcp", w.address); err != nil {
			return 0, err
		}
		w.reader = bufio.NewReaderSize(w.conn, 16<<10)
	}
	if err := w.conn.SetDeadline(time.Now().Add(ioTimeout)); err != nil {
		return 0, err
	}
	if _, err := w.conn.Write(request); err != nil {
		return 0, err
	}
	status, err = w.read()
	if err != nil {
		return 0, fmt.Errorf("read an answer: %w", err)
	}
	return status, nil
}

// read takes one answer off the connection (RFC 9112).
func (w *wire) read() (status int, err error) {
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, fmt.Errorf("no status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("no status line: %q", line)
	}
	length, chunked, last := 0, false, false
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if len(name) == 0 {
			break
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Connection")):
			last = bytes.EqualFold(value, []byte("close"))
		}
	}
	w.body = w.body[:0]
	switch {
	case chunked:
		err = w.readChunks()
	case status != http.StatusNoContent:
		err = w.readBody(length)
	}
	if last {
		w.close()
	}
	return status, err
}

func (w *wire) readBody(length int) error {
	start := len(w.body)
	w.body = append(w.body, make([]byte, length)...)
	_, err := io.ReadFull(w.reader, w.body[start:])
	return err
}

func (w *wire) readChunks() error {
	for {
		line, err := w.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 32)
		if err != nil {
			return err
		}
		if err := w.readBody(int(size)); err != nil {
			return err
		}
		if _, err := w.reader.Discard(len("\r\n")); err != nil || size == 0 {
			return err
		}
	}
}

func (w *wire) close() {
	if w.conn != nil {
		_ = w.conn.Close() // nothing of ours is lost with it
		w.conn = nil
	}
}

// request makes the bytes of a request. Headers are NAME: VALUE.
func request(method, host, path, body string, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	for _, header := range headers {
		b.WriteString(header + "\r\n")
	}
	if body != "" || method == http.MethodPost {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}
