<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- ?parts=N&ms=M: N lines, each sent on its own, M ms apart; &token=T in place of ms: when Tomcat's temp
     directory has a file "release-T". ?bytes=N: so many bytes, byte i being i
     modulo 251. ?hang=T: says "begun" and then nothing for a minute; "hanging T" is in Tomcat's log by then. --%>
<%@ page contentType="application/octet-stream" session="false" import="java.io.*" %><%
  OutputStream stream = response.getOutputStream();
  String bytes = request.getParameter("bytes");
  if (request.getParameter("hang") != null) {
    stream.write("begun\n".getBytes());
    stream.flush();
    System.out.println("hanging " + request.getParameter("hang"));
    Thread.sleep(60000);
  } else if (bytes != null) {
    byte[] pattern = new byte[251 * 32];
    for (int i = 0; i < pattern.length; i++) pattern[i] = (byte) (i % 251);
    for (long left = Long.parseLong(bytes); left > 0; left -= pattern.length) {
      stream.write(pattern, 0, (int) Math.min(left, pattern.length));
    }
  } else {
    int parts = Integer.parseInt(request.getParameter("parts"));
    String token = request.getParameter("token");
    File release = new File(System.getProperty("java.io.tmpdir"), "release-" + token);
    for (int i = 0; i < parts; i++) {
      if (i > 0 && token == null) Thread.sleep(Long.parseLong(request.getParameter("ms")));
      for (int j = 0; i > 0 && token != null && j < 60000 && !release.exists(); j++) Thread.sleep(10);
      stream.write(("part " + i + "\n").getBytes());
      stream.flush();
    }
  }
  stream.close();
%>
