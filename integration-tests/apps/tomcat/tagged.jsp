<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- A line QUERY;FIELD;BODY with what came as ?tag=, as X-Tag and as lines of the body, each of which must
     be the same, and then ?lines=N lines more of the query's. --%>
<%@ page contentType="text/plain" session="false" import="java.io.*,java.util.*" %><%
  String tag = request.getParameter("tag");
  Set<String> lines = new TreeSet<>();
  BufferedReader in = new BufferedReader(new InputStreamReader(request.getInputStream(), "ISO-8859-1"));
  for (String line; (line = in.readLine()) != null;) lines.add(line);
  StringBuilder text = new StringBuilder();
  text.append(tag + ";" + request.getHeader("X-Tag") + ";" + String.join(",", lines) + "\n");
  for (int i = Integer.parseInt(request.getParameter("lines")); i > 0; i--) text.append(tag).append('\n');
  out.clear();
  out.print(text);
%>
