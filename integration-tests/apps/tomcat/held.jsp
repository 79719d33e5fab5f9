<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- ?token=T: writes "held T" to Tomcat's log, and answers when its temp directory has a file "release-T". --%>
<%@ page contentType="text/plain" session="false" import="java.io.File" %><%
  String token = request.getParameter("token");
  File release = new File(System.getProperty("java.io.tmpdir"), "release-" + token);
  System.out.println("held " + token);
  for (int i = 0; i < 60000 && !release.exists(); i++) Thread.sleep(10);
  out.clear();
  out.print("token=" + token + "\n");
%>
