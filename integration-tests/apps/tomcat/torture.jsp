<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- What programs of torture/ say of a request; ?sleep=N takes so many milliseconds. --%>
<%@ page contentType="text/plain" session="false" import="java.io.*,java.util.zip.CRC32" %><%
  long bytes = 0;
  CRC32 crc = new CRC32();
  byte[] buffer = new byte[8192];
  InputStream in = request.getInputStream();
  for (int n; (n = in.read(buffer)) > 0; bytes += n) crc.update(buffer, 0, n);
  Thread.sleep(Long.parseLong(request.getParameter("sleep")));
  out.clear();
  out.print("QUERY_STRING=" + request.getQueryString() + "\nbody_bytes=" + bytes +
      String.format("%nbody_crc32=%08x%n", crc.getValue()));
%>
