<%-- SPDX-License-Identifier: Apache-2.0 --%>
<%-- Counts the requests of a session; ?ms=N takes that long. --%>
<%@ page contentType="text/plain" import="java.util.*" %><%
  Integer count = (Integer) session.getAttribute("count");
  count = count == null ? 1 : count + 1;
  session.setAttribute("count", count);
  if (request.getParameter("ms") != null) Thread.sleep(Long.parseLong(request.getParameter("ms")));
  out.clear();
  out.print("id=" + session.getId() + "\ncount=" + count + "\nnew=" + session.isNew() +
      "\nencoded=" + response.encodeURL("session.jsp") + "\n");
%>
