<%-- SPDX-License-Identifier: Apache-2.0 --%><%-- Reads the body and says how long it was. --%><%@ page contentType="text/plain;charset=ISO-8859-1" session="false" import="java.io.InputStream" %><%
  byte[] buffer = new byte[8192];
  long bytes = 0;
  InputStream in = request.getInputStream();
  for (int n; (n = in.read(buffer)) > 0; ) bytes += n;
%><%= bytes %>
