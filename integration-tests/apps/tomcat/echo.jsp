<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- Says what it has got, as lines NAME=value. ?status=N answers with that status, ?location=URL redirects,
     ?unread=1 leaves the body alone, ?header=NAME:VALUE answers with that field. --%>
<%@ page contentType="text/plain;charset=ISO-8859-1" session="false"
    import="java.io.*,java.util.*,java.util.zip.CRC32,java.security.cert.X509Certificate" %><%
  long bytes = 0;
  CRC32 crc = new CRC32();
  if (request.getParameter("unread") == null) {
    byte[] buffer = new byte[8192];
    InputStream in = request.getInputStream();
    for (int n; (n = in.read(buffer)) > 0; bytes += n) crc.update(buffer, 0, n);
  }
  Map<String, Object> said = new TreeMap<>();
  said.put("method", request.getMethod());
  said.put("uri", request.getRequestURI());
  said.put("context", request.getContextPath());
  said.put("query", request.getQueryString());
  said.put("protocol", request.getProtocol());
  said.put("scheme", request.getScheme());
  said.put("secure", request.isSecure());
  said.put("remoteAddr", request.getRemoteAddr());
  said.put("remotePort", request.getRemotePort());
  said.put("localAddr", request.getLocalAddr());
  said.put("serverName", request.getServerName());
  said.put("serverPort", request.getServerPort());
  said.put("remoteUser", request.getRemoteUser());
  said.put("authType", request.getAuthType());
  said.put("contentLength", request.getContentLengthLong());
  said.put("bodyBytes", bytes);
  said.put("bodyCrc", String.format("%08x", crc.getValue()));
  for (String name : new String[] {"JK_LB_ACTIVATION", "TENANT", "jakarta.servlet.request.cipher_suite",
      "jakarta.servlet.request.key_size", "jakarta.servlet.request.ssl_session_id",
      "org.apache.tomcat.util.net.secure_protocol_version"}) {
    said.put("attribute." + name, request.getAttribute(name));
  }
  Object certs = request.getAttribute("jakarta.servlet.request.X509Certificate");
  if (certs instanceof X509Certificate[]) {
    X509Certificate[] chain = (X509Certificate[]) certs;
    for (int i = 0; i < chain.length; i++) said.put("cert." + i, chain[i].getSubjectX500Principal().getName());
  }
  for (String name : Collections.list(request.getHeaderNames())) {
    said.put("header." + name.toLowerCase(), String.join("|", Collections.list(request.getHeaders(name))));
  }
  if (request.getParameter("status") != null) response.setStatus(Integer.parseInt(request.getParameter("status")));
  String[] fields = request.getParameterValues("header");
  if (fields != null) for (String field : fields) {
    response.addHeader(field.split(":", 2)[0], field.split(":", 2)[1]);
  }
  if (request.getParameter("location") != null) {
    response.sendRedirect(request.getParameter("location"));
    return;
  }
  StringBuilder text = new StringBuilder();
  for (Map.Entry<String, Object> one : said.entrySet()) {
    if (one.getValue() != null) text.append(one.getKey()).append('=').append(one.getValue()).append('\n');
  }
  out.clear();
  out.print(text);
%>
